import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { GoneError, type Session, type SessionEvent, type Sessions } from 'koa-wsession';
import type { WebSocket } from 'ws';

declare module 'koa-wsession' {
  interface SessionData {
    /** How many messages this session sent, by page and by socket. */
    messages?: number;
  }
}

/** Why a socket is closed (RFC 6455, 7.4). The page goes to the login after the first, and connects again after the second. */
const LOGGED_OUT = 4001;
const TRY_AGAIN_LATER = 1013;

const ENDS = ['koa-wsession:destroyed', 'koa-wsession:regenerated'];

/** The open sockets. A logout closes those of its session. */
export class Room {
  readonly #sessions: Sessions;
  readonly #report: (error: unknown) => void;
  /** Each socket with its session's ref, as events name it. */
  readonly #sockets: Map<WebSocket, string | undefined> = new Map();

  constructor(sessions: Sessions, report: (error: unknown) => void) {
    this.#sessions = sessions;
    this.#report = report;
    for (const end of ENDS) subscribe(end, this.#onEnd);
  }

  join(socket: WebSocket, session: Session): void {
    this.#sockets.set(socket, this.#sessions.of(session).ref);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined); // a broken frame, a reset: the socket closes anyway
    socket.on('message', (text) => {
      this.say(session, String(text)).catch((error) => {
        // A logout in another process sends no event here; the update notices it.
        if (error instanceof GoneError) return socket.close(LOGGED_OUT);
        this.#report(error);
        socket.close(TRY_AGAIN_LATER);
      });
    });
  }

  /** Sends a message to everyone. The update is atomic, so that parallel messages of page and socket both count. */
  async say(session: Session, text: string): Promise<void> {
    const speaker = this.#sessions.of(session);
    const messages = await speaker.update('messages', (count = 0) => count + 1);
    const message = JSON.stringify({ user: speaker.owner, text, messages });
    for (const socket of this.#sockets.keys()) socket.send(message);
  }

  close(): void {
    for (const end of ENDS) unsubscribe(end, this.#onEnd);
  }

  readonly #onEnd = (message: unknown): void => {
    const { session, from = session } = message as SessionEvent;
    for (const [socket, ref] of this.#sockets) if (ref === from) socket.close(LOGGED_OUT);
  };
}
