/**
 * Server-sent events over fetch: the browser's own EventSource can send no Authorization, hides the status of a refusal and offers no way to end with a reason. Comes again by
 * itself, behind the last event it saw; waits for a sign-in where one is wanted; ends when coming again cannot help.
 */
import { request } from './api.js'

const againMs = [500, 1_000, 2_000, 4_000]
/** A connection that says nothing for so long is taken for dead; the broker says something every `followHeartbeatMs`, 15 s unless it was told otherwise. */
const silenceMsMax = 60_000

/** Follows; answers how to stop. `onEnd`: with the problem; after one that is not retriable nothing comes any more. */
export function follow(url, { onEvent, onOpen, onLost, onEnd }) {
  const stopped = new AbortController()
  const { signal } = stopped
  const state = { lastId: undefined, isOver: false, failures: 0 }
  const take = ({ event, data, id }) => {
    if (event === 'end') {
      const problem = JSON.parse(data)
      state.isOver = !problem.retriable
      return onEnd?.(problem)
    }
    if (event !== 'message') return // what could not be read; the events behind it come
    state.lastId = id ?? state.lastId
    onEvent(data, state.lastId)
  }
  const run = async () => {
    while (!signal.aborted && !state.isOver) {
      try {
        await followOnce(url, state, signal, take, onOpen)
      } catch (problem) {
        if (signal.aborted) return
        // Refused for good: the right is missing, or the topic gone. Anything else is the way there.
        if (problem.status >= 400 && problem.status < 500 && !problem.retriable) return onEnd?.(problem)
      }
      if (signal.aborted || state.isOver) return
      onLost?.()
      await pause(againMs[Math.min(state.failures++, againMs.length - 1)], signal)
    }
  }
  void run()
  return () => stopped.abort()
}

async function followOnce(url, state, signal, take, onOpen) {
  const silent = new AbortController()
  const over = AbortSignal.any([signal, silent.signal])
  const headers = { accept: 'text/event-stream', ...(state.lastId !== undefined && { 'last-event-id': state.lastId }) }
  const response = await request(url, { headers, signal: over, cache: 'no-store' })
  onOpen?.()
  let timer
  const heard = () => {
    clearTimeout(timer)
    timer = setTimeout(() => silent.abort(), silenceMsMax)
  }
  heard()
  try {
    const parse = eventParser(take)
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || signal.aborted) return
      state.failures = 0
      heard()
      parse(value)
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Takes the text in pieces of any size; calls back with each event that is whole. The broker ends lines with \n, and an event has one line of data. */
export function eventParser(take) {
  let rest = ''
  return (text) => {
    const blocks = (rest + text).split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const event = { event: 'message', data: undefined, id: undefined }
      for (const line of block.split('\n')) {
        const colon = line.indexOf(':')
        if (colon > 0) event[line.slice(0, colon)] = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
      }
      if (event.data !== undefined) take(event)
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
