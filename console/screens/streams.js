/** Streams: find one customer. Names by prefix, a page at a time from the broker's index: it never reads the log, so a topic may have ten million of them. */
import { useEffect, useState } from '../vendor/hooks.js'
import { get, path } from '../api.js'
import { go, href, note } from '../route.js'
import { Copy, Loading, Problem, count, html, shellWord, useLoaded } from '../ui.js'

const pageSize = 100

export function Streams({ values }) {
  const { value: listed, problem } = useLoaded((signal) => get('/api/topics', {}, signal), '')
  const topics = listed?.topics.map(({ topic }) => topic) ?? []
  const topic = values.topic ?? topics[0]
  const [prefix, setPrefix] = useState(values.prefix ?? '')
  useEffect(() => {
    if (topic) note(['streams'], { topic, prefix })
  }, [topic, prefix])
  const open = (event) => {
    event.preventDefault()
    if (prefix !== '') go(['t', topic, 's', prefix])
  }
  return html`
    <h1>Streams</h1><${Problem} problem=${problem} />
    <form class="row" onSubmit=${open}>
      <label>Topic<select value=${topic} onChange=${(event) => go(['streams'], { topic: event.target.value, prefix })}>${topics.map((each) => html`<option value=${each} selected=${each === topic}>${each}</option>`)}</select></label>
      <label>Name begins with<input data-filter value=${prefix} autocomplete="off" spellcheck=${false} onInput=${(event) => setPrefix(event.target.value)} /></label>
      <button disabled=${prefix === ''}>Open the stream of exactly this name</button>
    </form>
    ${topic ? html`<${Names} key=${topic} topic=${topic} prefix=${prefix} />` : listed && html`<p>No topic yet: <a href=${href(['topics'])}>make one</a>.</p>`}`
}

function Names({ topic, prefix }) {
  const [afters, setAfters] = useState([undefined])
  const [settled, setSettled] = useState(prefix)
  useEffect(() => {
    const timer = setTimeout(() => {
      setSettled(prefix)
      setAfters([undefined])
    }, 150)
    return () => clearTimeout(timer)
  }, [prefix])
  const after = afters.at(-1)
  const { value, problem, loading } = useLoaded(
    (signal) => get(`${path.topic(topic)}/streams`, { prefix: settled, after, limit: pageSize }, signal),
    `${settled}\n${after}`,
  )
  if (!value) return html`<${Problem} problem=${problem} />${loading && html`<${Loading} what="names" />`}`
  const last = value.streams.at(-1)?.stream
  return html`<${Problem} problem=${problem} />
    <div class="card scroll" aria-busy=${loading}><table><thead><tr><th>Stream</th><th class="num">Last version</th><th class="num">Partition</th></tr></thead><tbody>
      ${value.streams.map(({ stream, lastVersion, partition }) => html`<tr key=${stream}><td><a href=${href(['t', topic, 's', stream])}>${stream}</a></td><td class="num">${count(lastVersion)}</td><td class="num">${partition}</td></tr>`)}
    </tbody></table>${value.streams.length === 0 && html`<p>No stream whose name begins so.</p>`}</div>
    <p class="row"><button type="button" disabled=${afters.length === 1} onClick=${() => setAfters(afters.slice(0, -1))}>Back</button><button type="button" disabled=${!value.more} onClick=${() => setAfters([...afters, last])}>Next</button><span class="quiet">page ${afters.length}</span><${Copy} text=${`playhead streams ${shellWord(topic)} --prefix ${shellWord(settled)} --limit ${pageSize}`}>Copy as command<//></p>`
}
