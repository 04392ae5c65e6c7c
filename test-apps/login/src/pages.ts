import { type Html, html, renderPage } from 'app-kit/page';
import type { OwnedSession } from 'koa-wsession';
import type { User } from './users.js';

/** What every page needs to know. */
export interface Frame {
  readonly place: string;
  readonly csrf: Html;
  readonly notices: readonly string[];
  readonly user: User | undefined;
  /** Seconds until the visitor is logged out without a click. */
  readonly idle: number;
  /** Seconds until the visitor is logged out in any case. */
  readonly left: number;
}

export function renderLogin({
  place,
  csrf,
  notices,
  name = '',
  error,
  hasExpired,
}: Frame & { name?: string; error?: string; hasExpired?: boolean }): string {
  const autofocus = html` autofocus`;
  return renderPage({
    title: 'Log in',
    place,
    notices: hasExpired ? ['You were logged out, because your time was up.'] : notices,
    main: html`
${error === undefined ? undefined : html`<p class="error" id="error" role="alert">${error}</p>`}
<form method="post" action="/login">
  ${csrf}
  <label for="name">Name</label>
  <input id="name" name="name" autocomplete="username" autocapitalize="none" required value="${name}"${name === '' ? autofocus : undefined}${error === undefined ? undefined : html` aria-describedby="error"`}>
  <label for="password">Password</label>
  <input id="password" name="password" type="password" autocomplete="current-password" required${name === '' ? undefined : autofocus}>
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
<p>There is no list here: each device keeps its own session in its cookie, and the app keeps nothing. So the app can
neither show the other devices nor log them out.</p>
<p class="quiet">With sessions in files or in Redis there is a list.</p>`,
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

function renderDevice(device: OwnedSession, csrf: Html): Html {
  const { ref, label, current, deviceBound, createdAt, updatedAt } = device;
  const name = label ?? 'A browser';
  return html`<li>
  <div>
    <p><strong>${name}</strong>${current ? html` <span class="tag">this device</span>` : undefined}${deviceBound ? html` <span class="tag">bound to this device</span>` : undefined}</p>
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

/** A page for logged-in visitors: with navigation, and the warning before the time is up. */
function renderInside(frame: Frame, title: string, main: Html): string {
  const { place, notices, idle, left, csrf } = frame;
  return renderPage({
    title,
    place,
    notices,
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

/** In UTC, since a server doesn't know the visitor's time zone; without the year, since no session lives that long. */
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
