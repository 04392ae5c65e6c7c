import { type Html, html, renderPage } from 'app-kit/page';
import type { OwnedSession } from 'koa-wsession';
import type { User } from './users.js';

/** What every page needs to know. */
export interface Frame {
  readonly place: string;
  readonly csrf: Html;
  readonly notice: string | undefined;
  readonly user: User | undefined;
  /** Seconds until one is logged out without a click, and in any case. */
  readonly idle: number;
  readonly left: number;
}

export function renderLogin({
  place,
  csrf,
  notice,
  error,
  hasExpired,
}: Frame & { error?: string; hasExpired?: boolean }): string {
  return renderPage({
    title: 'Log in',
    place,
    notice: hasExpired ? 'You were logged out, because your time was up.' : notice,
    main: html`
${error === undefined ? undefined : html`<p class="error" id="error" role="alert">${error}</p>`}
<form method="post" action="/login">
  ${csrf}
  <label for="name">Name</label>
  <input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus${error === undefined ? undefined : html` aria-describedby="error"`}>
  <label for="password">Password</label>
  <input id="password" name="password" type="password" autocomplete="current-password" required>
  <label class="check"><input type="checkbox" name="remember"> Remember me for two weeks</label>
  <button class="main wide">Log in</button>
</form>
<p class="quiet">For a try: <b>ada</b> with “analytical engine”, or <b>grace</b> with “nanoseconds of wire”.</p>`,
  });
}

export function renderAccount(frame: Frame): string {
  return renderInside(
    frame,
    'Your account',
    html`
<p>You are logged in as <strong>${frame.user?.name}</strong>.</p>
<p class="quiet">You will be logged out ${spell(frame.idle)} after your last click, and in ${spell(frame.left)} in any case.</p>
<div class="actions"><form method="post" action="/logout">${frame.csrf}<button>Log out</button></form></div>`,
  );
}

export function renderDevices(frame: Frame & { devices: readonly OwnedSession[] | undefined }): string {
  const { devices, csrf } = frame;
  if (!devices) {
    return renderInside(
      frame,
      'Your devices',
      html`
<p>There is no list here: the app keeps nothing of a session, each device has its own in its cookie. So none can be
shown, and none can be logged out from another.</p>
<p class="quiet">With sessions in files or in Redis there is one.</p>`,
    );
  }
  return renderInside(
    frame,
    'Your devices',
    html`
<p class="quiet">Where you are logged in. Times are in UTC.</p>
<ul class="list">${devices.map((device) => renderDevice(device, csrf))}</ul>
${
  devices.length === 1
    ? undefined
    : html`<form method="post" action="/devices/revoke-others">${csrf}<button>Log out the others</button></form>`
}`,
  );
}

function renderDevice({ ref, label, current, createdAt, updatedAt }: OwnedSession, csrf: Html): Html {
  const name = label ?? 'A browser';
  return html`<li>
  <div>
    <p><strong>${name}</strong>${current ? html` <span class="tag">this device</span>` : undefined}</p>
    <p class="quiet">Since ${time(createdAt)}</p>
    <p class="quiet">Last used ${time(updatedAt)}</p>
  </div>
  ${
    current
      ? undefined
      : html`<form method="post" action="/devices/revoke">${csrf}<input type="hidden" name="ref" value="${ref}"><button aria-label="Log out ${name}">Log out</button></form>`
  }
</li>`;
}

/** A page for who is logged in: with the way around, and the warning before the time is up. */
function renderInside(frame: Frame, title: string, main: Html): string {
  const { place, notice, idle, left, csrf } = frame;
  return renderPage({
    title,
    place,
    notice,
    nav: html`<nav><a href="/">Account</a><a href="/devices">Devices</a></nav>`,
    script: '/expiry.js',
    main: html`${main}
<form class="warning" id="expiry" hidden method="post" action="/stay" data-idle="${idle}" data-left="${left}">
  ${csrf}
  <p><span role="alert"></span> <span role="timer"></span></p>
  <button class="main">Stay logged in</button>
</form>`,
  });
}

const TIME = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  timeZone: 'UTC',
});

/** In UTC: a server doesn't know the visitor's time zone. Without the year: no session lives that long. */
function time(date: Date): Html {
  return html`<time datetime="${date.toISOString()}">${TIME.format(date)}</time>`;
}

const UNITS = [
  [24 * 3600, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
] as const;

/** A number of seconds in the largest unit of which there is at least one. */
function spell(seconds: number): string {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS[3];
  const count = Math.round(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
