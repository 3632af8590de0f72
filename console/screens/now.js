/** Now: is it well? Rates from the counters of /api/status, asked for every two seconds while somebody looks; five minutes of them as plots. */
import uPlot from '../vendor/uplot.js'
import { useEffect, useRef, useState } from '../vendor/hooks.js'
import { get } from '../api.js'
import { href } from '../route.js'
import { session } from '../session.js'
import { Problem, bytes, count, duration, html, usePoll } from '../ui.js'
import { Demo } from './demo.js'

const pollMs = 2_000
const kept = 150

/** What is plotted: from two looks and the seconds between them. */
const lines = [
  {
    name: 'Events appended a second',
    of: (now, before, seconds) => (now.counters.appendedRecords - before.counters.appendedRecords) / seconds,
    show: count,
  },
  {
    name: 'Bytes appended a second',
    of: (now, before, seconds) => (now.counters.appendedBytes - before.counters.appendedBytes) / seconds,
    show: bytes,
  },
  {
    name: 'Durable writes a second',
    of: (now, before, seconds) => (now.counters.syncs - before.counters.syncs) / seconds,
    show: count,
  },
  {
    name: 'Processor, % of one',
    of: (now, before, seconds) => (now.cpuMs - before.cpuMs) / seconds / 10,
    show: (value) => `${count(value)} %`,
  },
  { name: 'Memory', of: (now) => now.rssBytes, show: bytes },
  {
    name: 'Bytes read a second',
    of: (now, before, seconds) => (now.counters.readBytes - before.counters.readBytes) / seconds,
    show: bytes,
  },
]

/** Kept while other screens are looked at, so that coming back is not starting anew. */
let past = nothing()

function nothing() {
  return { turn: session.turn, times: [], values: lines.map(() => []), last: undefined, lastMs: 0 }
}

export function Now() {
  // Of another principal: not for this one to see.
  if (past.turn !== session.turn) past = nothing()
  const [status, setStatus] = useState(past.last)
  const [problem, setProblem] = useState()
  usePoll(async () => {
    try {
      const now = await get('/api/status')
      remember(now)
      setStatus(now)
      setProblem(undefined)
    } catch (failed) {
      if (failed.code === 'notAuthorized') setStatus(undefined)
      setProblem(failed)
    }
  }, pollMs)
  if (!status)
    return html`<h1>Now</h1><${Problem} problem=${problem} />${problem ? html`<p><a href=${href(['topics'])}>Topics that you may see</a></p>` : html`<p class="loading">Asking the broker …</p>`}`
  const { counters } = status
  const recordsPerSync = counters.appendedRecords / Math.max(1, counters.syncs)
  return html`
    <h1>Broker ${status.brokerId} <span class="quiet">up for ${duration(status.uptimeMs)}, release ${status.release}</span></h1>
    <${Problem} problem=${problem} />
    ${status.problems.map((each) => html`<div class="problem" role="alert">${each}</div>`)}
    <div class="tiles">
      <${Tile} to=${['topics']} name="events appended since the start" value=${count(counters.appendedRecords)} note=${`${recordsPerSync.toFixed(1)} in each durable write`} />
      <${Tile} to=${['topics']} name="in logs" value=${bytes(status.logBytes)} note=${`${count(status.topics)} topics, ${count(status.partitions)} partitions`} />
      <${Tile} to=${['settings']} name="appends waiting" value=${count(counters.waitingAppends)} note="acknowledged when durable on this disk" />
      <${Tile} to=${['decide']} name="appends refused" value=${count(counters.refusals)} note="a condition did not hold, mostly" />
      <${Tile} to=${['readers']} name="readers waiting" value=${count(counters.waitingReaders)} note=${`${count(counters.followers)} follow over HTTP`} />
      <${Tile} to=${['settings']} name="connections" value=${count(status.connections)} note=${`${bytes(status.rssBytes)} of memory`} />
    </div>
    <${Demo} />
    <div class="plots">${lines.map((line, index) => html`<${Plot} key=${line.name} line=${line} values=${past.values[index]} />`)}</div>`
}

function remember(now) {
  const nowMs = performance.now()
  if (past.last) {
    const seconds = (nowMs - past.lastMs) / 1_000
    past.times.push(Date.now() / 1_000)
    for (const [index, line] of lines.entries()) past.values[index].push(Math.max(0, line.of(now, past.last, seconds)))
    if (past.times.length > kept) for (const row of [past.times, ...past.values]) row.shift()
  }
  past.last = now
  past.lastMs = nowMs
}

function Tile({ to, name, value, note }) {
  return html`<a class="card tile" href=${href(to)}><small>${name}</small><b>${value}</b><small>${note}</small></a>`
}

function Plot({ line, values }) {
  const place = useRef(null)
  const plot = useRef(null)
  useEffect(() => {
    const style = getComputedStyle(document.documentElement)
    const [ink, grid, accent] = ['--quiet', '--line', '--accent'].map((name) => style.getPropertyValue(name).trim())
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid } }
    plot.current = new uPlot(
      {
        width: place.current.clientWidth,
        height: 150,
        legend: { show: false },
        cursor: { y: false },
        scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [axis, { ...axis, size: 70, values: (_plot, ticks) => ticks.map(line.show) }],
        series: [{}, { stroke: accent, width: 1.5, fill: `${accent}22` }],
      },
      [past.times, values],
      place.current,
    )
    const { current } = place
    const resized = new ResizeObserver(() => plot.current.setSize({ width: current.clientWidth, height: 150 }))
    resized.observe(current)
    return () => {
      resized.disconnect()
      plot.current.destroy()
    }
  }, [])
  useEffect(() => {
    plot.current?.setData([past.times, values])
  })
  const latest = values.at(-1)
  return html`<section class="card" aria-label=${line.name}><b>${line.name}</b> <span class="quiet" role="status">${latest === undefined ? '' : line.show(latest)}</span><div ref=${place}></div></section>`
}
