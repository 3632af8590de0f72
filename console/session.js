/**
 * Session: who this tab is for the broker. The token is in the tab's own storage until it is closed, and goes out in one header; it is in no address, no link and no log.
 * Invariants: a request that is refused for want of a sign-in waits for it and is sent again only if the same principal has signed in; what one principal began is
 * never done as another. Neighbours: api.js asks for headers and tells of refusals, sign-in.js is what people see, app.js makes the screens anew for somebody else.
 */
const key = 'playhead-token'
/** What a header may hold. */
const tokenForm = /^[\x21-\x7e]+$/

let token = sessionStorage.getItem(key) ?? undefined
/** What /api/whoami has said; undefined = not known yet. */
let who
/** Why somebody has to sign in, as the broker told it; undefined = nobody has to. */
let refusal
/** Counts who comes and goes: another number is another person's screen. */
let turn = 0
const waiting = new Set()
const listeners = new Set()

export const session = {
  get who() {
    return who
  },
  get refusal() {
    return refusal
  },
  get turn() {
    return turn
  },
  get hasToken() {
    return token !== undefined
  },
  get headers() {
    return token === undefined ? {} : { authorization: `Bearer ${token}` }
  },
}

export function onSession(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function tell() {
  for (const listener of listeners) listener()
}

/**
 * The broker wants to know who sends what was sent with `headers` when the turn was `sentTurn`. Resolves once the same principal has signed in, so that it can be
 * sent again; throws the problem when another one has, or when it is given up.
 */
export function signedInAfter(problem, headers, sentTurn, signal) {
  if (sentTurn !== turn) return Promise.reject(problem)
  if (refusal === undefined) {
    // Somebody has signed in since it was sent.
    if (headers.authorization !== session.headers.authorization) return Promise.resolve()
    drop()
    refusal = problem
    tell()
  }
  return new Promise((resolve, reject) => {
    const entry = { resolve, reject: () => reject(refusal ?? problem) }
    waiting.add(entry)
    const giveUp = () => {
      waiting.delete(entry)
      reject(signal.reason)
    }
    signal?.addEventListener('abort', giveUp, { once: true })
  })
}

/** Resolves when nobody has to sign in, or not any more. */
export function whenSignedIn(signal) {
  return refusal === undefined ? Promise.resolve() : signedInAfter(refusal, {}, turn, signal)
}

/** Asks the broker who that is, and is that from then on. Throws the problem of a token that is not taken. */
export async function signIn(text) {
  if (!tokenForm.test(text))
    throw {
      code: 'unauthenticated',
      detail: 'token: found something that cannot be one, wanted it as it was shown when it was made',
    }
  const found = await ask({ authorization: `Bearer ${text}` })
  const isSame = who === undefined || who.principal === found.principal
  token = text
  sessionStorage.setItem(key, text)
  if (!isSame) turn++
  who = found
  for (const { resolve, reject } of waiting) {
    if (isSame) resolve()
    else reject()
  }
  waiting.clear()
  refusal = undefined
  tell()
}

export function signOut() {
  drop()
  who = undefined
  turn++
  refusal = { code: 'unauthenticated', detail: 'You have signed out.', details: { reason: 'signedOut' } }
  for (const { reject } of waiting) reject()
  waiting.clear()
  tell()
}

/** Who this is, at the start of a page and after rights have changed. */
export async function lookAtSession() {
  const { headers } = session
  try {
    const found = await ask(headers)
    if (session.headers.authorization !== headers.authorization) return
    who = found
    tell()
  } catch (problem) {
    if (problem.status !== 401) throw problem
    signedInAfter(problem, headers, turn).catch(() => {})
  }
}

async function ask(headers) {
  let response
  try {
    response = await fetch('/api/whoami', { headers, cache: 'no-store' })
  } catch {
    throw { code: 'unavailable', detail: 'the broker does not answer; is it running?' }
  }
  const answer = await response
    .json()
    .catch(() => ({ code: 'unavailable', detail: `the broker answered ${response.status}` }))
  if (!response.ok) throw { status: response.status, ...answer }
  return answer
}

function drop() {
  token = undefined
  sessionStorage.removeItem(key)
}
