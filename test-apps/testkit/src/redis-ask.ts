import { connect } from 'node:net';

/** Sends one command to a server on 127.0.0.1 and resolves with its reply as it came, up to the first line of it or, for a string, all. */
export function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let reply = '';
    socket.setEncoding('utf8');
    socket.setTimeout(1000, () => socket.destroy(new Error(`Port ${port} doesn't answer "${command}".`)));
    socket.once('connect', () => socket.write(`${command}\r\n`));
    socket.on('data', (text: string) => {
      reply += text;
      if (isComplete(reply)) {
        resolve(reply);
        socket.destroy();
      }
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`Port ${port} closed without an answer to "${command}".`)));
  });
}

function isComplete(reply: string): boolean {
  const line = reply.indexOf('\r\n');
  if (line < 0) return false;
  return reply[0] !== '$' || Buffer.byteLength(reply) >= line + 2 + Number(reply.slice(1, line));
}

/** Waits until a condition holds, asking again every few milliseconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeout = 10_000): Promise<void> {
  const deadline = Date.now() + timeout;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Not within ${timeout} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
