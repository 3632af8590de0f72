/** Demo: a real shop's history (541,909 order lines), recorded from the browser through the HTTP interface, and a link to the customer whose time the tour slides through. */
import { useRef, useState } from '../vendor/hooks.js'
import { get } from '../api.js'
import { loadDemo, demoCustomer, demoTopic } from '../demo-loader.js'
import { href } from '../route.js'
import { Problem, count, html, useLoaded } from '../ui.js'

const rows = 541_909
/** Each change of what is shown is a layout and a paint, on a machine that is busy recording. */
const shownMs = 250

export function Demo() {
  const [state, setState] = useState({ phase: 'idle', done: 0 })
  const abort = useRef(null)
  const { value: there } = useLoaded((signal) => demoFacts(signal), state.phase)
  const recorded = there?.partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0) ?? 0
  const start = async () => {
    abort.current = new AbortController()
    setState({ phase: 'loading', done: 0 })
    try {
      let shownAtMs = 0
      const took = await loadDemo(abort.current.signal, (done) => {
        if (performance.now() - shownAtMs < shownMs) return
        shownAtMs = performance.now()
        setState({ phase: 'loading', done })
      })
      setState({ phase: 'done', done: rows, seconds: took / 1_000 })
    } catch (problem) {
      setState(abort.current.signal.aborted ? { phase: 'idle', done: 0 } : { phase: 'idle', done: 0, problem })
    }
  }
  return html`<section class="card" aria-label="Demo">
    <b>A shop's history</b> <span class="quiet">a UK gift shop's order lines, December 2010 to December 2011 (UCI Online Retail, CC BY 4.0)</span>
    <${Problem} problem=${state.problem} />
    ${
      state.phase === 'loading'
        ? html`<p><progress max=${rows} value=${state.done} aria-label="Demo"></progress><span role="status">${count(state.done)} of ${count(rows)} events recorded, each durable</span> <button type="button" onClick=${() => abort.current.abort()}>Stop</button></p>`
        : html`<p class="row">
          ${
            recorded >= rows
              ? html`<a class="button" data-demo-customer href=${href(['t', demoTopic, 's', demoCustomer])}>Slide through customer ${demoCustomer}'s time</a><span class="quiet">${count(recorded)} events in topic ${demoTopic}${state.seconds ? `, recorded in ${state.seconds.toFixed(1)} s` : ''}</span>`
              : html`<button type="button" class="main" onClick=${start}>Load the demo</button><span class="quiet">${recorded > 0 ? `${count(recorded)} events are there already: nothing comes twice` : 'makes topic demo-carts; take it away again under Topics'}</span>`
          }
        </p>`
    }
  </section>`
}

/** Undefined while there is no such topic. */
async function demoFacts(signal) {
  const { topics } = await get('/api/topics', {}, signal)
  return topics.some(({ topic }) => topic === demoTopic) ? get(`/api/topics/${demoTopic}`, {}, signal) : undefined
}
