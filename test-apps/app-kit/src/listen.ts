import type { AddressInfo } from 'node:net';
import type Koa from 'koa';

/** Serves an app on PORT, else 3000, and says where it and its sessions are. */
export function listen(app: Koa, name: string, place: string): void {
  const server = app.listen(Number(process.env.PORT ?? 3000), () => {
    const { port } = server.address() as AddressInfo;
    console.log(`The ${name} is at http://localhost:${port} (sessions: ${place}).`);
  });
}
