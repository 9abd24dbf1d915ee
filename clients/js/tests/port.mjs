// Ports for servers that are down for a while and come back at the same place.
import { once } from 'node:events'
import { createServer } from 'node:net'

/** A port of 127.0.0.1 that no system gives by default to who asks for any: nobody has it while the server is down (internal/freeport), and no browser refuses. */
export async function freePort () {
  for (let tries = 100; ; tries--) {
    const server = createServer().listen(11_000 + Math.floor(Math.random() * 21_000), '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (err) {
      if (tries === 1) throw err
      continue
    }
    const { port } = server.address()
    server.close()
    await once(server, 'close')
    return port
  }
}
