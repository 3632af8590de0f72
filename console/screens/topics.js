/** Topics: what is in here? One topic: its partitions, its settings and where each comes from, and its newest events as they come, which stand still while they are read. */
import { useEffect, useRef, useState } from '../vendor/hooks.js'
import { get, path, send } from '../api.js'
import { follow } from '../event-source.js'
import { go, href } from '../route.js'
import { Copy, Loading, Problem, bytes, count, html, shellWord, useLoaded, usePoll } from '../ui.js'

const rowsShown = 200
const tailKept = 200

export function Topics() {
  const [internal, setInternal] = useState(false)
  const [filter, setFilter] = useState('')
  const [changes, setChanges] = useState(0)
  const { value, problem, loading } = useLoaded(
    (signal) => get('/api/topics', { internal }, signal),
    `${internal} ${changes}`,
  )
  const found = (value?.topics ?? []).filter(({ topic }) => topic.includes(filter))
  return html`
    <h1>Topics</h1>
    <div class="row"><label>Name contains<input data-filter value=${filter} onInput=${(event) => setFilter(event.target.value)} /></label>
      <button type="button" aria-pressed=${internal} onClick=${() => setInternal(!internal)}>The broker's own</button></div>
    <${Problem} problem=${problem} />
    ${loading && !value && html`<${Loading} what="topics" />`}
    ${
      value &&
      html`<div class="card scroll"><table><thead><tr><th>Topic</th><th class="num">Partitions</th><th>Streams</th></tr></thead><tbody>
      ${found.slice(0, rowsShown).map(({ topic, partitions }) => html`<tr><td><a href=${href(['t', topic])}>${topic}</a></td><td class="num">${partitions}</td><td><a href=${href(['streams'], { topic })}>streams</a></td></tr>`)}
    </tbody></table>
    ${found.length > rowsShown && html`<p class="quiet">${count(found.length - rowsShown)} more: filter by name.</p>`}
    ${found.length === 0 && html`<p>No topic${filter ? ' of that name' : ' yet'}.</p>`}</div>`
    }
    <${NewTopic} onMade=${() => setChanges(changes + 1)} />`
}

function NewTopic({ onMade }) {
  const [topic, setTopic] = useState('')
  const [partitions, setPartitions] = useState('1')
  const [problem, setProblem] = useState()
  const make = async (event) => {
    event.preventDefault()
    try {
      await send('POST', '/api/topics', { topic, partitions: Number(partitions) })
      setProblem(undefined)
      setTopic('')
      onMade()
    } catch (failed) {
      setProblem(failed)
    }
  }
  return html`<form class="card" onSubmit=${make}><b>New topic</b><div class="row">
    <label>Name<input required value=${topic} onInput=${(event) => setTopic(event.target.value)} /></label>
    <label>Partitions<input type="number" min="1" max="4096" value=${partitions} onInput=${(event) => setPartitions(event.target.value)} /></label>
    <button class="main">Create</button><${Copy} text=${`playhead topic create ${shellWord(topic || 'NAME')} --partitions ${shellWord(partitions)}`}>Copy as command<//></div>
    <p class="quiet">A partition is the boundary of order and of atomic appends: one is right unless you know better. Nothing is deleted by default.</p>
    <${Problem} problem=${problem} /></form>`
}

export function Topic({ topic }) {
  const [described, setDescribed] = useState()
  const [problem, setProblem] = useState()
  usePoll(async () => {
    try {
      setDescribed(await get(path.topic(topic)))
      setProblem(undefined)
    } catch (failed) {
      setProblem(failed)
    }
  }, 3_000)
  if (!described)
    return html`<h1>${topic}</h1><${Problem} problem=${problem} />${!problem && html`<${Loading} what="the topic" />`}`
  const { partitions, settings, internal } = described
  const events = partitions.reduce((sum, { highWatermark, logStartOffset }) => sum + highWatermark - logStartOffset, 0)
  return html`
    <h1>${topic}</h1><${Problem} problem=${problem} />
    <p class="row"><a class="button" href=${href(['streams'], { topic })}>Streams</a><a class="button" href=${href(['decide'], { topic })}>Append</a><span class="quiet">${count(events)} events, ${bytes(partitions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))}</span></p>
    <${Tail} topic=${topic} partitions=${partitions.length} />
    <h2>Partitions</h2>
    <div class="card scroll"><table><thead><tr><th class="num">#</th><th class="num">first offset</th><th class="num">high watermark</th><th class="num">not durable yet</th><th class="num">size</th><th class="num">segments</th><th class="num">epoch</th><th>damage</th></tr></thead><tbody>
      ${partitions.slice(0, rowsShown).map((each) => html`<tr><td class="num">${each.partition}</td><td class="num">${count(each.logStartOffset)}</td><td class="num">${count(each.highWatermark)}</td><td class="num">${count(each.logEndOffset - each.durableOffset)}</td><td class="num">${bytes(each.sizeBytes)}</td><td class="num">${each.segments}</td><td class="num">${each.leaderEpoch}</td><td>${each.damage.length === 0 ? 'none' : html`<span class="problem">${each.damage.join('; ')}</span>`}</td></tr>`)}
    </tbody></table>${partitions.length > rowsShown && html`<p class="quiet">The first ${rowsShown} of ${partitions.length}.</p>`}</div>
    <h2>Settings</h2>
    <div class="card scroll"><table><thead><tr><th>Setting</th><th>Value</th><th>Comes from</th></tr></thead><tbody>${settings.map(({ name, value, source }) => html`<tr><td class="mono">${name}</td><td class="mono">${value}</td><td>${source}</td></tr>`)}</tbody></table></div>
    ${!internal && html`<${Removal} topic=${topic} events=${events} />`}`
}

function Tail({ topic, partitions }) {
  const [isOn, setOn] = useState(false)
  const [events, setEvents] = useState([])
  const [state, setState] = useState('')
  const [problem, setProblem] = useState()
  const waiting = useRef([])
  useEffect(() => {
    if (!isOn) return
    setState('connecting')
    setProblem(undefined)
    const stop = follow(`${path.topic(topic)}/follow${partitions > 64 ? '?partition=0' : ''}`, {
      onEvent: (line) => waiting.current.push(line),
      onOpen: () => setState('following'),
      onLost: () => setState('lost; coming back'),
      onEnd: (ended) => {
        setState(ended.retriable ? ended.detail : 'ended')
        if (!ended.retriable) setProblem(ended)
      },
    })
    const timer = setInterval(() => {
      const lines = waiting.current.splice(0).slice(-tailKept)
      if (lines.length > 0)
        setEvents((before) => [...lines.map((line) => JSON.parse(line)).toReversed(), ...before].slice(0, tailKept))
    }, 250)
    return () => {
      stop()
      clearInterval(timer)
    }
  }, [isOn])
  return html`<section class="card" aria-label="Newest events"><div class="row"><button type="button" aria-pressed=${isOn} onClick=${() => setOn(!isOn)}>${isOn ? 'Hold still' : 'Follow the newest events'}</button><span role="status" class="quiet">${isOn ? state : events.length > 0 ? 'held; what comes meanwhile is not lost, it is in the log' : ''}</span></div>
    <${Problem} problem=${problem} />
    ${events.length > 0 && html`<div class="scroll"><table><tbody>${events.slice(0, 50).map((event) => html`<tr key=${`${event.partition}/${event.offset}`}><td class="num">${event.partition}/${event.offset}</td><td class="mono">${event.timestamp}</td><td>${event.stream === null ? '' : html`<a href=${href(['t', topic, 's', event.stream])}>${event.stream}</a>`}</td><td>${event.type}</td><td class="mono">${JSON.stringify(event.data)?.slice(0, 160)}</td></tr>`)}</tbody></table></div>`}</section>`
}

function Removal({ topic, events }) {
  const [typed, setTyped] = useState('')
  const [problem, setProblem] = useState()
  const remove = async (event) => {
    event.preventDefault()
    try {
      await send('DELETE', path.topic(topic))
      go(['topics'])
    } catch (failed) {
      setProblem(failed)
    }
  }
  return html`<details class="card"><summary>Delete this topic</summary><form onSubmit=${remove}><p>All ${count(events)} events are gone then, and nothing brings them back. Type the name of the topic to go on.</p>
    <div class="row"><label>Name<input value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label><button disabled=${typed !== topic}>Delete ${topic}</button></div><${Problem} problem=${problem} /></form></details>`
}
