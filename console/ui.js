/** What every screen is made of: htm bound to preact, and the few words and numbers that all of them show the same way. */
import { h } from './vendor/preact.js'
import htm from './vendor/htm.js'
import { useEffect, useRef, useState } from './vendor/hooks.js'

export const html = htm.bind(h)

export const count = (number) => Math.round(number).toLocaleString('en-GB')

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let place = 0
  for (; number >= 1024 && place < units.length - 1; place++) number /= 1024
  return `${number < 10 && place > 0 ? number.toFixed(1) : Math.round(number)} ${units[place]}`
}

/** The UTC time as it is written in events; the local one stands in the tooltip. */
export function Time({ ms }) {
  if (!Number.isFinite(ms)) return html`<span class="quiet">no time</span>`
  const date = new Date(ms)
  return html`<time datetime=${date.toISOString()} title=${`here: ${date.toLocaleString()}`} class="mono">${date.toISOString()}</time>`
}

export function duration(ms) {
  const seconds = Math.floor(ms / 1000)
  const parts = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ]
  const first = parts.findIndex(([size]) => seconds >= size)
  if (first < 0) return '0 s'
  let left = seconds
  return parts
    .slice(first, first + 2)
    .map(([size, unit]) => {
      const whole = Math.floor(left / size)
      left -= whole * size
      return `${whole} ${unit}`
    })
    .join(' ')
}

/** For a command to be copied: whatever stands in a name, a shell takes it for one word. */
export function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`
}

/** What the broker refused, in its own words; of a right that is missing: which, on what, and whose. */
export function Problem({ problem }) {
  if (!problem) return null
  const { operation, resource, principal } = problem.details ?? {}
  if (problem.code === 'notAuthorized' && resource !== undefined) {
    const command = `playhead grant add ${shellWord(principal)} ${operation} ${shellWord(resource)}`
    return html`<div class="problem" role="alert" data-denied>You are <b>${principal}</b> and have no right to <b>${operation}</b> <b class="mono">${resource}</b>. Ask somebody who may: <code>${command}</code> <${Copy} text=${command}>Copy<//> <a href="#/access">What you may</a></div>`
  }
  return html`<div class="problem" role="alert"><b>${problem.code ?? 'failed'}</b>: ${problem.detail ?? String(problem)}</div>`
}

/** Loads when `key` changes, and gives up what is under way when the screen is left. */
export function useLoaded(load, key) {
  const [state, setState] = useState({ value: undefined, problem: undefined, loading: true })
  useEffect(() => {
    const over = new AbortController()
    setState((before) => ({ ...before, loading: true }))
    load(over.signal).then(
      (value) => over.signal.aborted || setState({ value, problem: undefined, loading: false }),
      (problem) => over.signal.aborted || setState({ value: undefined, problem, loading: false }),
    )
    return () => over.abort()
  }, [key])
  return state
}

/** Calls every `ms` while the page is looked at, one call at a time. */
export function usePoll(call, ms) {
  const latest = useRef(call)
  latest.current = call
  useEffect(() => {
    let timer
    let isOver = false
    const turn = async () => {
      if (document.visibilityState === 'visible') await latest.current()
      if (!isOver) timer = setTimeout(turn, ms)
    }
    void turn()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [ms])
}

export function Loading({ what }) {
  return html`<p class="loading" aria-live="polite">Loading ${what} …</p>`
}

export function Copy({ text, children }) {
  const [done, setDone] = useState(false)
  const copy = async () => {
    await navigator.clipboard?.writeText(text)
    setDone(true)
    setTimeout(() => setDone(false), 1500)
  }
  return html`<button type="button" onClick=${copy} title=${text}>${done ? 'Copied' : children}</button>`
}
