/** Addresses of pages: `#/NAME/SEGMENT/…?NAME=VALUE`. What stands behind the # is never sent to a server. */

/** @typedef {{name: string, segments: string[], query: URLSearchParams}} Route */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function routeOf(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [name, ...segments] = path.split('/').filter(Boolean).map(decode);
  return { name: name ?? 'chat', segments, query: new URLSearchParams(query) };
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Calls `go` with the route of now, and with each one to come. @param {(route: Route) => void} go */
export function followAddress(go) {
  addEventListener('hashchange', () => go(routeOf(location.hash)));
  go(routeOf(location.hash));
}
