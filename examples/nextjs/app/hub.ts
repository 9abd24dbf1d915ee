/** Where the Go server is, for this server and for browsers. Read when the program runs, not when it is built. */
export const hub = () => process.env.GOHUB_URL ?? 'http://localhost:8080'
