// Socket.IO 4 with its default configuration, WebSocket alone. The same flags
// and /debug endpoints as the other measured servers have.
//
//	node server.js -addr 127.0.0.1:9001 -debug 127.0.0.1:9002
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { Server } = require("socket.io");

const flags = {};
for (let i = 2; i < process.argv.length; i += 2) flags[process.argv[i].replace(/^-+/, "")] = process.argv[i + 1];
const listen = (server, at) => {
	const [host, port] = at.split(":");
	// Node's 511 refuses no one here, but a full queue costs its client a second.
	server.listen({ host, port: Number(port), backlog: 4096 });
};

// The debug server comes first: it is what the runner waits for.
function status(name) {
	const line = fs.readFileSync("/proc/self/status", "utf8").split("\n").find((l) => l.startsWith(name));
	return line ? Number(line.split(/\s+/)[1]) * 1024 : 0;
}

function usage() {
	const u = process.cpuUsage(); // microseconds, user and system, of all threads
	const io = fs.readFileSync("/proc/self/io", "utf8");
	const calls = (name) => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(io)[1]);
	return { cpu_user_ns: u.user * 1000, cpu_sys_ns: u.system * 1000, allocs: 0, reads: calls("syscr"), writes: calls("syscw") };
}

function memory() {
	const m = process.memoryUsage();
	return {
		...usage(),
		rss: status("VmRSS:"),
		rss_peak: status("VmHWM:"),
		heap_alloc: m.heapUsed,
		heap_inuse: m.heapTotal,
		stack_inuse: 0,
		goroutines: 0,
		conns: fs.readdirSync("/proc/self/fd").length,
	};
}

const debug = http.createServer((req, res) => {
	const url = new URL(req.url, "http://debug");
	const answer = (v) => {
		res.setHeader("Content-Type", "application/json");
		res.end(JSON.stringify(v));
	};
	switch (url.pathname) {
		case "/debug/cpu":
			return answer(usage());
		case "/debug/mem":
			if (url.searchParams.get("gc") !== "0" && global.gc) {
				global.gc();
				global.gc();
			}
			return answer(memory());
		case "/debug/heap":
			return answer(memory());
		case "/debug/glance":
			return answer({ rss: status("VmRSS:"), conns: fs.readdirSync("/proc/self/fd").length });
		default:
			res.statusCode = 404;
			return res.end();
	}
});

const server = flags.cert
	? https.createServer({ cert: fs.readFileSync(flags.cert), key: fs.readFileSync(flags.key) })
	: http.createServer();

const options = { transports: ["websocket"] };
if (flags.recovery) options.connectionStateRecovery = { maxDisconnectionDuration: 2 * 60 * 1000, skipMiddlewares: true };
const io = new Server(server, options);

// Its documentation on memory usage lets go of the first request like this.
io.engine.on("connection", (socket) => {
	socket.request = null;
});

io.on("connection", (socket) => {
	socket.on("join", (room, answer) => {
		socket.join(room);
		answer();
	});
	socket.on("publish", (room, body, answer) => {
		io.to(room).emit("message", body);
		if (answer) answer();
	});
});

listen(server, flags.addr);
server.on("listening", () => listen(debug, flags.debug));
