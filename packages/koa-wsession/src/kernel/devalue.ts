// The build replaces this file's output by devalue itself: it is an ES module, which CommonJS hosts such as Jest can't load.
export { parse, stringify } from 'devalue';
