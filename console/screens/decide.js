/** Decide: why was it refused? An append with the version that somebody saw, from two panes at once: one is right, the other is told what it did not know. */
import { useEffect, useRef, useState } from '../vendor/hooks.js'
import { AppendForm } from '../append-form.js'
import { get, path } from '../api.js'
import { go, href } from '../route.js'
import { Problem, count, html, useLoaded } from '../ui.js'

export function Decide({ values }) {
  const { value: listed } = useLoaded((signal) => get('/api/topics', {}, signal), '')
  const topics = listed?.topics.map(({ topic }) => topic) ?? []
  const topic = values.topic ?? topics[0]
  const [stream, setStream] = useState(values.stream ?? '')
  const chosen = values.stream
  return html`<h1>Decide</h1>
    <p>Whoever appends names the version it has seen. If something came in between, nothing is written, and the answer says what.</p>
    <form class="row" onSubmit=${(event) => {
      event.preventDefault()
      go(['decide'], { topic, stream })
    }}>
      <label>Topic<select onChange=${(event) => go(['decide'], { topic: event.target.value, stream })}>${topics.map((each) => html`<option value=${each} selected=${each === topic}>${each}</option>`)}</select></label>
      <label>Stream<input data-filter required value=${stream} onInput=${(event) => setStream(event.target.value)} /></label><button>Open</button></form>
    ${topic && chosen ? html`<${Race} key=${`${topic}/${chosen}`} topic=${topic} stream=${chosen} />` : html`<p class="quiet">Choose a stream; one that has no event yet will do.</p>`}`
}

function Race({ topic, stream }) {
  const [known, setKnown] = useState()
  const panes = [useRef(null), useRef(null)]
  const [problem, setProblem] = useState()
  const look = async () => {
    try {
      setKnown((await get(path.stream(topic, stream), { backwards: true, limit: 1 })).lastVersion)
      setProblem(undefined)
    } catch (failed) {
      setProblem(failed)
    }
  }
  useEffect(() => void look(), [])
  if (known === undefined) return html`<${Problem} problem=${problem} />`
  return html`<${Problem} problem=${problem} /><p class="row"><span>Both saw <a href=${href(['t', topic, 's', stream])}>${stream}</a> at ${known < 0 ? 'no event' : `version ${count(known)}`}.</span>
    <button type="button" class="main" onClick=${() => Promise.all(panes.map(({ current }) => current()))}>Race: append from both at once</button><button type="button" onClick=${look}>Look again</button></p>
    <div class="two">${panes.map((pane, index) => html`<section class="card" aria-label=${`Pane ${index + 1}`}><b>Pane ${index + 1}</b><${AppendForm} topic=${topic} stream=${stream} version=${known} submit=${pane} type="ItemAdded" data=${{ till: index + 1 }} /></section>`)}</div>`
}
