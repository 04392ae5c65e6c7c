import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';

const ARGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
  '--host-resolver-rules=MAP * 127.0.0.1',
];

/** What browser tests need. */
export const BROWSER: readonly string[] = ['chromium', 'openssl'];

/** Headless Chromium for which every host name is 127.0.0.1, so that `shop.test` and `evil.test` are two sites. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ARGS });
}

/** The same with a profile on disk, as a visitor has it who closes the browser and opens it again. */
export function startWithProfile(directory: string): Promise<BrowserContext> {
  return chromium.launchPersistentContext(directory, {
    executablePath: CHROMIUM,
    args: ARGS,
    ignoreHTTPSErrors: true,
  });
}

/** The screens that pages are looked at on. */
const SCREENS = { phone: { width: 390, height: 720 }, desk: { width: 1000, height: 680 } } as const;

export interface Look {
  readonly screen?: keyof typeof SCREENS;
  readonly colorScheme?: 'light' | 'dark';
}

/** Somebody with a browser of their own: no cookie is shared with another visitor. */
export function newVisitor(
  browser: Browser,
  { screen = 'desk', colorScheme = 'light' }: Look = {},
): Promise<BrowserContext> {
  return browser.newContext({ ignoreHTTPSErrors: true, viewport: SCREENS[screen], colorScheme });
}

export interface SecureServed {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves over TLS with a certificate of its own making, so that Secure and `__Host-` are the browser's decision. */
export async function serveSecurely(listener: RequestListener): Promise<SecureServed> {
  const server = createServer(selfSigned(), listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

/** node:crypto makes keys but no certificates. */
function selfSigned(): { key: Buffer; cert: Buffer } {
  const dir = mkdtempSync(join(tmpdir(), 'testkit-tls-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  try {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...curve, ...files, '-subj', '/CN=test', '-days', '2'], {
      stdio: 'pipe',
    });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
