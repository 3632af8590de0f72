/** The address bar holds all that a screen shows: `#/t/carts/s/customer-1?at=41`. Jumps are entries of the history; small steps replace the last one. */
import { useEffect, useState } from './vendor/hooks.js'

export function parseRoute(hash) {
  const [where = '', search = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  return {
    parts: where
      .split('/')
      .filter((part) => part !== '')
      .map(decode),
    values: Object.fromEntries(new URLSearchParams(search)),
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function href(parts, values = {}) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '' && value !== null)
  const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`
  return `#/${parts.map(encodeURIComponent).join('/')}${search}`
}

export function go(parts, values) {
  location.hash = href(parts, values)
}

/** Without an entry of the history, and without anybody being told. */
export function note(parts, values) {
  history.replaceState(null, '', href(parts, values))
}

export function useRoute() {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const changed = () => setHash(location.hash)
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return parseRoute(hash)
}
