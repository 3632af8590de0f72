/** The broker's HTTP interface as the screens call it. Every failure is the problem document that the broker sent, or one in its words. */

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

async function request(url, init) {
  let response
  try {
    response = await fetch(url, init)
  } catch (error) {
    if (init?.signal?.aborted) throw error
    throw { code: 'unavailable', detail: 'the broker does not answer; is it running?' }
  }
  if (!response.ok) throw await problemOf(response)
  return response
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

/** Follows; comes again by itself, behind the last event it saw. Answers how to stop. */
export function follow(url, { onEvent, onOpen, onLost, onEnd }) {
  const source = new EventSource(url)
  source.addEventListener('open', () => onOpen?.())
  source.addEventListener('message', ({ data, lastEventId }) => onEvent(data, lastEventId))
  source.addEventListener('error', () => onLost?.())
  source.addEventListener('end', ({ data }) => {
    const problem = JSON.parse(data)
    onEnd?.(problem)
    if (!problem.retriable) source.close()
  })
  return () => source.close()
}
