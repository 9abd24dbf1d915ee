// A Wire is what lies between browser and server: it can be cut, and it can go silent, which neither end is told.

import { once } from 'node:events';
import net from 'node:net';

export class Wire {
  silent = false; // what comes from now on disappears
  refuse = false; // nobody new comes through
  #sockets = new Set();
  #server;

  // start listens, and leads to the server at url.
  async start(url) {
    const { hostname, port } = new URL(url);
    this.#server = net.createServer((near) => {
      if (this.refuse) return near.destroy();
      const far = net.connect(port, hostname);
      for (const [from, to] of [[near, far], [far, near]]) {
        this.#sockets.add(from);
        from.on('data', (data) => { if (!this.silent) to.write(data); });
        from.on('error', () => {});
        from.on('close', () => { this.#sockets.delete(from); to.destroy(); });
      }
    });
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}/`;
    return this;
  }

  cut() { for (const socket of this.#sockets) socket.destroy(); }

  stop() {
    this.#server.close();
    this.cut();
  }
}
