import type { SessionObject } from '../kernel/session-object.js';
import { checkOption, checkOptionNames } from '../store/options.js';

/** What a logout may be given. */
export interface LogOutOptions {
  /**
   * Asks the browser to delete what it holds of this site, by the header Clear-Site-Data: `true` for `['cookies',
   * 'storage']`, or a list of `'cache'`, `'cookies'` and `'storage'`. Default `false`.
   *
   * `'cookies'` deletes all cookies of the registrable domain, those of other apps and those that the same response sets
   * included. `'cache'` can hold Chromium up for seconds. Browsers ignore the header over plain http.
   */
  readonly clearSiteData?: boolean | readonly SiteData[] | undefined;
}

/** What a browser holds of a site (W3C Clear Site Data, 3.1). */
export type SiteData = 'cache' | 'cookies' | 'storage';

const ALL: readonly unknown[] = ['cache', 'cookies', 'storage'] satisfies SiteData[];

/** Ends the session, and asks for what else is to be deleted. */
export async function logOut({ lifecycle, scope }: SessionObject, options: LogOutOptions): Promise<void> {
  checkOptionNames('logOut()', options, ['clearSiteData']);
  const { clearSiteData = false } = options;
  const asked = clearSiteData === true ? ['cookies', 'storage'] : clearSiteData || [];
  checkOption(
    'clearSiteData',
    clearSiteData,
    () => Array.isArray(asked) && asked.every((one) => ALL.includes(one)),
    "true, false or a list of 'cache', 'cookies' and 'storage'",
  );
  await lifecycle.destroy();
  const { res } = scope;
  if (asked.length > 0 && res && !res.headersSent)
    res.setHeader('Clear-Site-Data', asked.map((one) => `"${one}"`).join(', '));
}
