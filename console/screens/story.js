/**
 * Story: what happened to one stream, and what was true then? Events on the left, the state as of the playhead on the right, the track below. The address holds the moment, the
 * comparison and the scale; a jump is an entry of the browser's history, a step is not.
 */
import { useEffect, useMemo, useReducer, useRef, useState } from '../vendor/hooks.js'
import { AppendForm } from '../append-form.js'
import { href, note } from '../route.js'
import { Copy, Loading, Problem, Time, count, html, shellWord } from '../ui.js'
import { EventList } from '../story/event-list.js'
import { FoldEditor, keptFold } from '../story/fold-editor.js'
import { History } from '../story/history.js'
import { Difference, StateView } from '../story/state-view.js'
import { Track, axisOf, placeAt } from '../story/track.js'

const gapShare = 0.004
const speeds = [1, 10, 100, 1000]

/** Changes come by the thousand while a stream is loaded: the screen is made anew once a frame. */
function useHistory(topic, stream) {
  const [, changed] = useReducer((turn) => turn + 1, 0)
  const made = useRef(null)
  if (made.current === null) {
    let isAsked = false
    made.current = new History(topic, stream, keptFold(topic), () => {
      if (isAsked) return
      isAsked = true
      requestAnimationFrame(() => {
        isAsked = false
        changed()
      })
    })
  }
  useEffect(() => () => made.current.close(), [])
  return made.current
}

export function Story({ topic, stream, values }) {
  const history = useHistory(topic, stream)
  const [view, setView] = useState({
    at: undefined,
    compare: undefined,
    scale: values.scale ?? 'time',
    gaps: values.gaps ?? 'compressed',
    tab: 'state',
    speed: 10,
    isPlaying: false,
    isFollowing: values.at === undefined && values.asOf === undefined,
  })
  const [range, setRange] = useState([0, 40])
  const goTo = useRef(null)
  const last = history.count - 1
  const at = view.isFollowing || view.at === undefined ? last : Math.min(view.at, last)
  useStart(history, values, setView)
  useAddress(topic, stream, history, view, at)
  useQuestion(history, at, view.compare, range)
  const change = (changes) => setView((before) => ({ ...before, ...changes }))
  const seek = (place) => change({ at: Math.min(Math.max(-1, place), history.count - 1), isFollowing: false })
  usePlay(view, at, last, seek, change)
  const axis = useMemo(
    () => axisOf(history.times, view.scale, view.gaps),
    [history, history.count, view.scale, view.gaps],
  )
  useStoryKeys({ history, view, at, axis, seek, change, topic, stream, openGoTo: () => goTo.current?.showModal() })
  if (history.problem) return html`<h1>${stream}</h1><${Problem} problem=${history.problem} />`
  if (history.isComplete && history.lastVersion < 0) return html`<${Empty} topic=${topic} stream=${stream} />`
  const narrowed = view.compare === undefined ? 0 : Math.max(0, Math.min(view.compare, at))
  return html`<div class="story">
    <${Head} topic=${topic} stream=${stream} history=${history} view=${view} at=${at} change=${change} />
    <${Problem} problem=${history.liveProblem} />
    <div class="sides">
      <section class="frame" aria-label="Events of the stream"><div class="asof">${view.compare === undefined ? `${count(history.count)} events` : `events between version ${history.versions[narrowed]} and ${history.versions[Math.max(view.compare, at)]}`}</div>
        <${EventList} count=${view.compare === undefined ? history.count : Math.max(view.compare, at) + 1} first=${narrowed} at=${at} rows=${history.answer?.rows ?? []} onRange=${(from, to) => setRange([from, to])} onSeek=${seek} /></section>
      <${Moment} history=${history} view=${view} at=${at} change=${change} />
    </div>
    <${Track} history=${history} count=${history.count} at=${at} compare=${view.compare} scale=${view.scale} gaps=${view.gaps} onSeek=${seek} label=${labelOf(history, at)} />
    <${Controls} view=${view} at=${at} last=${last} seek=${seek} change=${change} openGoTo=${() => goTo.current?.showModal()} />
    <section class="card" aria-label="Append"><b>Append to this stream</b> <span class="quiet">on the version that is shown: from the past it is refused, and you see why</span>
      <${AppendForm} topic=${topic} stream=${stream} version=${at < 0 ? -1 : history.versions[at]} type=${history.types.at(-1) ?? 'ItemAdded'} /></section>
    <${FoldEditor} topic=${topic} problem=${history.foldProblem} onUse=${(source) => history.useFold(source)} />
    <${GoTo} dialog=${goTo} history=${history} at=${at} seek=${seek} />
  </div>`
}

function labelOf(history, at) {
  if (at < 0) return 'before the first event'
  const time = new Date(history.times[at]).toISOString()
  return `version ${history.versions[at]} of ${history.lastVersion}, ${history.types[at] || 'no type'}, ${time}`
}

/** The moment that the address names, once the events up to it are there; and a moment that somebody goes back to. */
function useStart(history, values, setView) {
  useEffect(() => {
    if (!history.isComplete || (values.at === undefined && values.asOf === undefined)) return
    const place =
      values.asOf === undefined
        ? history.placeOfVersion(Number(values.at))
        : history.placeOfTime(Date.parse(values.asOf))
    const compare = values.compare === undefined ? undefined : history.placeOfVersion(Number(values.compare))
    setView((before) =>
      before.at === place && before.compare === compare
        ? before
        : { ...before, at: place, compare, isFollowing: false },
    )
  }, [history.isComplete, values.at, values.asOf, values.compare])
}

function useAddress(topic, stream, history, view, at) {
  useEffect(() => {
    if (!history.isComplete || history.count === 0) return
    const values = {
      at: view.isFollowing ? undefined : at < 0 ? -1 : history.versions[at],
      compare: view.compare === undefined ? undefined : history.versions[view.compare],
      scale: view.scale === 'time' ? undefined : view.scale,
      gaps: view.gaps === 'compressed' ? undefined : view.gaps,
    }
    const timer = setTimeout(() => note(['t', topic, 's', stream], values), 150)
    return () => clearTimeout(timer)
  }, [history.isComplete, at, view.isFollowing, view.compare, view.scale, view.gaps])
}

function useQuestion(history, at, compare, range) {
  useEffect(() => {
    if (history.count > 0) history.ask({ at, compare, rows: range })
  }, [history, at, compare, range[0], range[1], history.count, history.foldTurn, history.foldProblem])
}

function usePlay(view, at, last, seek, change) {
  const latest = useRef(at)
  latest.current = at
  useEffect(() => {
    if (!view.isPlaying) return
    let carried = 0
    let beforeMs = performance.now()
    let frame = requestAnimationFrame(function turn(nowMs) {
      carried += ((nowMs - beforeMs) / 1000) * view.speed
      beforeMs = nowMs
      const steps = Math.floor(carried)
      carried -= steps
      if (steps > 0) seek(latest.current + steps)
      if (latest.current + steps >= last) change({ isPlaying: false })
      else frame = requestAnimationFrame(turn)
    })
    return () => cancelAnimationFrame(frame)
  }, [view.isPlaying, view.speed, last])
}

function Head({ topic, stream, history, view, at, change }) {
  const since = view.isFollowing ? 0 : history.count - 1 - at
  return html`<div class="head"><h1><a href=${href(['t', topic])}>${topic}</a> / ${stream}</h1>
    <span class="quiet">${history.lastVersion < 0 ? 'no event' : `versions ${history.versions[0] ?? 0} to ${history.lastVersion}`}${history.cutFrom > 0 ? `; too long: the state here begins at version ${history.cutFrom}` : ''}${!history.cutFrom && history.versions[0] > 0 ? `; history starts at version ${history.versions[0]}` : ''}</span>
    ${history.isComplete || html`<span role="status">loading: ${count(history.count)} of ${count(history.lastVersion + 1)}</span>`}
    <span role="status" data-live><span class=${`light ${history.isLive ? 'on' : history.isComplete ? 'off' : ''}`}></span> ${history.live}</span>
    <button type="button" aria-pressed=${view.isFollowing} onClick=${() => change({ isFollowing: !view.isFollowing, at, isPlaying: false })}>Follow${since > 0 ? ` (+${count(since)})` : ''}</button></div>`
}

const tabs = { state: 'State', diff: 'What changed', event: 'Event', raw: 'Raw', causes: 'Causes' }

function Moment({ history, view, at, change }) {
  const { answer } = history
  const later = history.count - 1 - at
  const isPast = later > 0
  return html`<section class=${`frame ${isPast ? 'past' : ''}`} aria-label="State as of the moment">
    <div class="asof" data-asof data-events=${at + 1} data-settled=${answer?.at === at ? 'yes' : 'no'}><b>${count(at + 1)} events</b> · ${at < 0 ? 'before the first event' : html`state as of version ${count(history.versions[at])} · <${Time} ms=${history.times[at]} />`}${isPast ? html` · ${count(later)} later ${later === 1 ? 'event' : 'events'} hidden` : ''}</div>
    <div class="tabs" role="tablist">${Object.entries(tabs).map(([tab, name]) => html`<button type="button" role="tab" id=${`tab-${tab}`} aria-selected=${view.tab === tab} aria-controls="pane" onClick=${() => change({ tab })}>${name}</button>`)}</div>
    <div class="pane" role="tabpanel" id="pane" aria-labelledby=${`tab-${view.tab}`} tabindex="0">
      ${answer?.failure && html`<${FoldFailure} history=${history} failure=${answer.failure} />`}
      ${answer ? html`<${Pane} tab=${view.tab} answer=${answer} compare=${view.compare} />` : html`<${Loading} what="the state" />`}
    </div></section>`
}

function Pane({ tab, answer, compare }) {
  const { state, before, after, event } = answer
  if (tab === 'state') return html`<${StateView} state=${state} before=${compare === undefined ? before : undefined} />`
  if (tab === 'diff') return html`<${Difference} before=${before} after=${after} />`
  if (!event) return html`<p class="quiet">Before the first event.</p>`
  if (tab === 'raw') return html`<pre>${JSON.stringify(event)}</pre>`
  if (tab === 'causes')
    return html`<${StateView} state=${Object.fromEntries(Object.entries(event.metadata).filter(([name]) => /correlation|causation|trace|^ce-/.test(name)))} />`
  return html`<table class="state"><tbody>${['type', 'version', 'timestamp', 'id', 'offset', 'partition'].map((field) => html`<tr><th scope="row">${field}</th><td class="mono">${String(event[field])}</td></tr>`)}
    <tr><th scope="row">tags</th><td>${event.tags.join(', ')}</td></tr></tbody></table><h2>Data</h2><${StateView} state=${event.dataBase64 ?? event.data} />
    ${event.dataBase64 !== undefined && html`<p class="note">These bytes are no JSON (${event.contentType ?? 'no content type'}): shown in base64.</p>`}<h2>Metadata</h2><${StateView} state=${event.metadata} />`
}

function FoldFailure({ history, failure }) {
  const { version, message, place, index } = failure
  return html`<div class="problem" role="alert">The fold throws at version ${version}: ${message}${place ? ` (line ${place} of what runs)` : ''}. Below is the state before it. <button type="button" onClick=${() => history.skip(index)}>Leave this event out of the fold</button></div>`
}

function Controls({ view, at, last, seek, change, openGoTo }) {
  const jump = (place) => () => seek(place)
  return html`<div class="row" role="group" aria-label="Move in time">
    <button type="button" onClick=${jump(0)} aria-label="First event">|◀</button><button type="button" onClick=${jump(at - 1)} aria-label="One event back">◀</button>
    <button type="button" aria-pressed=${view.isPlaying} onClick=${() => change({ isPlaying: !view.isPlaying, at: at >= last ? 0 : at, isFollowing: false })}>${view.isPlaying ? 'Stop' : 'Play'}</button>
    <button type="button" onClick=${jump(at + 1)} aria-label="One event on">▶</button><button type="button" onClick=${jump(last)} aria-label="Last event">▶|</button>
    <label>Events a second<select onChange=${(event) => change({ speed: Number(event.target.value) })}>${speeds.map((speed) => html`<option value=${speed} selected=${speed === view.speed}>${speed}</option>`)}</select></label>
    <button type="button" onClick=${openGoTo}>Go to …</button>
    <button type="button" aria-pressed=${view.compare !== undefined} onClick=${() => change(view.compare === undefined ? { compare: at, tab: 'diff', isFollowing: false, at } : { compare: undefined, tab: 'state' })}>${view.compare === undefined ? 'Compare with this' : 'Stop comparing'}</button>
    <button type="button" aria-pressed=${view.scale === 'version'} onClick=${() => change({ scale: view.scale === 'time' ? 'version' : 'time' })}>By ${view.scale === 'time' ? 'time' : 'version'}</button>
    ${view.scale === 'time' && html`<button type="button" aria-pressed=${view.gaps === 'true'} onClick=${() => change({ gaps: view.gaps === 'true' ? 'compressed' : 'true' })}>${view.gaps === 'true' ? 'Gaps as they are' : 'Gaps shortened'}</button>`}
    <${Copy} text=${location.href}>Copy link<//></div>`
}

/** `41`, `2011-06-01T00:00:00Z`, or `-2h` from here. */
export function placeOfText(text, history, at) {
  const relative = /^([-+−])(\d+)\s*(s|min|h|d)$/.exec(text.trim())
  if (relative) {
    const unitMs = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }[relative[3]]
    return history.placeOfTime(
      history.times[Math.max(0, at)] + (relative[1] === '+' ? 1 : -1) * Number(relative[2]) * unitMs,
    )
  }
  if (/^\d{1,15}$/.test(text.trim())) return history.placeOfVersion(Number(text))
  const hasZone = /Z|[+-]\d\d:?\d\d$/.test(text) || !text.includes('T')
  const ms = Date.parse(hasZone ? text : `${text}Z`)
  return Number.isFinite(ms) ? history.placeOfTime(ms) : undefined
}

function GoTo({ dialog, history, at, seek }) {
  const [text, setText] = useState('')
  const [problem, setProblem] = useState()
  const go = (event) => {
    event.preventDefault()
    const place = placeOfText(text, history, at)
    if (place === undefined)
      return setProblem({
        code: 'invalidArgument',
        detail: `found ${JSON.stringify(text)}, wanted a version (41), a time (2011-06-01T00:00:00Z) or a step (-2h)`,
      })
    setProblem(undefined)
    dialog.current.close()
    seek(place)
  }
  return html`<dialog ref=${dialog} aria-label="Go to"><form onSubmit=${go}><label>Version, time (UTC), or a step such as -2h<input name="goto" value=${text} onInput=${(event) => setText(event.target.value)} /></label> <button class="main">Go</button> <button type="button" onClick=${() => dialog.current.close()}>Close</button></form><${Problem} problem=${problem} /></dialog>`
}

function Empty({ topic, stream }) {
  const command = `playhead append ${shellWord(topic)} ${shellWord(stream)} --type Opened --data '{}' --expected-version none`
  return html`<h1>${topic} / ${stream}</h1><p>This stream has no event yet. The first one:</p><pre class="card">${command}</pre><${Copy} text=${command}>Copy as command<//>
    <section class="card"><${AppendForm} topic=${topic} stream=${stream} version=${-1} type="Opened" onAppended=${() => location.reload()} /></section>
    <p><a href=${href(['streams'], { topic, prefix: stream.slice(0, Math.max(1, stream.length - 2)) })}>Streams with names like it</a></p>`
}

function useStoryKeys(state) {
  const latest = useRef(state)
  latest.current = state
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.target.closest('input, textarea, select, dialog')) return
      const act = actionOf(event, latest.current)
      if (act === undefined) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', pressed)
    return () => removeEventListener('keydown', pressed)
  }, [])
}

function actionOf(
  { key, shiftKey, altKey, target },
  { history, view, at, axis, seek, change, openGoTo, topic, stream },
) {
  const way = key === 'ArrowLeft' || key === 'PageUp' ? -1 : 1
  if (target.closest('[role=tab]') && (key === 'ArrowLeft' || key === 'ArrowRight')) return undefined
  if (target.closest('button') && key === ' ') return undefined
  switch (key) {
    case 'ArrowLeft':
    case 'ArrowRight':
      return () => seek(altKey ? sameType(history, at, way) : Math.max(-1, at + way * (shiftKey ? 10 : 1)))
    case 'Home':
      return () => seek(0)
    case 'End':
      return () => seek(history.count - 1)
    case 'PageUp':
    case 'PageDown':
      return () => seek(nextGap(axis, at, way))
    case ' ':
      return () => change({ isPlaying: !view.isPlaying, at: at >= history.count - 1 ? 0 : at, isFollowing: false })
    case 'f':
    case 'F':
      return () => change({ isFollowing: !view.isFollowing, at, isPlaying: false })
    case 'c':
    case 'C':
      return () =>
        change(
          view.compare === undefined
            ? { compare: at, tab: 'diff', at, isFollowing: false }
            : { compare: undefined, tab: 'state' },
        )
    case 'd':
    case 'D':
      return () => change({ tab: view.tab === 'diff' ? 'state' : 'diff' })
    case 'G':
      return openGoTo
    case 'y':
    case 'Y':
      return () => void navigator.clipboard?.writeText(location.href)
    case 'x':
    case 'X':
      return () => void exportEvents(history, view, at, `${topic}-${stream}`)
    default:
      return undefined
  }
}

function sameType({ types, count: total }, at, way) {
  const type = types[at]
  for (let place = at + way; place >= 0 && place < total; place += way) if (types[place] === type) return place
  return at
}

/** The event before the next stretch in which nothing happened. */
function nextGap(axis, at, way) {
  for (let place = at + way; place > 0 && place < axis.length - 1; place += way) {
    if (axis[place + 1] - axis[place] > gapShare) return place
  }
  return way < 0 ? 0 : placeAt(axis, 1)
}

async function exportEvents(history, view, at, name) {
  const from = view.compare === undefined ? 0 : Math.min(view.compare, at)
  const to = view.compare === undefined ? at : Math.max(view.compare, at)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(
    new Blob([`${await history.exportLines(from, to)}\n`], { type: 'application/x-ndjson' }),
  )
  link.download = `${name.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.ndjson`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
