// The example chat as a process of its own, to be started, killed and started
// again on the same port.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { freePort } from '../../clients/js/tests/port.mjs';

const repository = path.resolve(import.meta.dirname, '../..');

export async function tempDir() {
  const dir = await mkdtemp(path.join(tmpdir(), 'gohub-browser-'));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

// browserOptions are how every test starts Chromium.
export const browserOptions = {
  executablePath: process.env.CHROMIUM_PATH || process.env.GOHUB_CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
};

// build compiles the example into dir. CHAT_BINARY names one that is built
// already.
export async function build(dir) {
  return process.env.CHAT_BINARY || compile(dir, './examples/chat');
}

// compile makes a program of the repository in dir.
export async function compile(dir, what) {
  const binary = path.join(dir, path.basename(what));
  await promisify(execFile)('go', ['build', '-o', binary, what], { cwd: repository });
  return binary;
}

// environment is ours without what would configure the server, and with more.
export function environment(more) {
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GOHUB_'))), ...more };
}

export class Server {
  #binary;
  #args;
  #env;
  #process = null;
  addr = ''; // by default a port that is free, and stays so while the server is down
  url = '';
  log = '';

  // args are further flags; env is what else the environment has. History is
  // in memory, so that a restart forgets it and nothing is left behind.
  constructor(binary, args = [], env = {}) {
    this.#binary = binary;
    this.#args = args;
    this.#env = env;
  }

  async start() {
    this.addr ||= `127.0.0.1:${await freePort()}`;
    const child = spawn(this.#binary, ['-addr', this.addr, ...this.#args], { env: environment({ GOHUB_DATA: 'memory', ...this.#env }), stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    child.stderr.on('data', (data) => (this.log += data));
    const line = await Promise.race([
      once(createInterface(child.stdout), 'line').then(([line]) => line),
      once(child, 'exit').then(([code]) => {
        throw new Error(`the server ended with ${code}: ${this.log}`);
      }),
    ]);
    this.url = line.match(/https?:\S+/)[0];
    this.addr = new URL(this.url).host; // the same one next time
  }

  // stop ends the process, with SIGKILL unless told otherwise, and resolves
  // with its exit status.
  async stop(signal = 'SIGKILL') {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = await exited;
    return code;
  }
}
