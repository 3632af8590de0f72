/**
 * The broker's HTTP interface as the screens call it. Every failure is the problem document that the broker sent, or one in its words. What is refused for want of a
 * sign-in waits for that: the broker has done nothing of it yet.
 */
import { session, signedInAfter, whenSignedIn } from './session.js'

export const path = {
  topic: (topic) => `/api/topics/${encodeURIComponent(topic)}`,
  stream: (topic, stream) => `/api/topics/${encodeURIComponent(topic)}/streams/${encodeURIComponent(stream)}`,
}

async function problemOf(response) {
  try {
    return await response.json()
  } catch {
    return { code: 'unavailable', detail: `the broker answered ${response.status}`, status: response.status }
  }
}

/** Answers a response that is ok. */
export async function request(url, init = {}) {
  const { signal } = init
  for (;;) {
    await whenSignedIn(signal)
    const { headers, turn } = session
    const response = await sent(url, { ...init, headers: { ...init.headers, ...headers } })
    if (response.ok) return response
    const problem = await problemOf(response)
    if (response.status !== 401) throw problem
    await signedInAfter(problem, headers, turn, signal)
  }
}

async function sent(url, init) {
  try {
    return await fetch(url, init)
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw { code: 'unavailable', detail: 'the broker does not answer; is it running?', retriable: true }
  }
}

const query = (values) => {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '')
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}

export async function get(url, values = {}, signal) {
  return (await request(url + query(values), { signal })).json()
}

/** The answer as text: for the worker, which parses it where nobody waits. */
export async function getText(url, values, signal) {
  return (await request(url + query(values), { signal })).text()
}

export async function send(method, url, body, values = {}, headers = {}) {
  const response = await request(url + query(values), {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  return response.status === 204 ? undefined : response.json()
}
