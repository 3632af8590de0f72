/** Views and readers: who is behind? Named playheads and how far each stands behind the high watermark. Views live with the programs that derive them. */
import { useState } from '../vendor/hooks.js'
import { get, path } from '../api.js'
import { go } from '../route.js'
import { Copy, Problem, count, html, shellWord, useLoaded, usePoll } from '../ui.js'

export function Readers({ values }) {
  const { value: listed } = useLoaded((signal) => get('/api/topics', {}, signal), '')
  const topics = listed?.topics.map(({ topic }) => topic) ?? []
  const topic = values.topic ?? topics[0]
  return html`<h1>Views and readers</h1>
    <p class="row"><label>Topic<select onChange=${(event) => go(['readers'], { topic: event.target.value })}>${topics.map((each) => html`<option value=${each} selected=${each === topic}>${each}</option>`)}</select></label></p>
    ${topic && html`<${Playheads} key=${topic} topic=${topic} />`}
    <h2>Views</h2><p class="card">Views are derived by your own programs (<code>playhead/processing</code>): version 2 beside version 1, swapped in one step. A view that commits a named playhead shows its progress above.</p>`
}

function Playheads({ topic }) {
  const [state, setState] = useState({})
  usePoll(async () => {
    try {
      setState({ value: await get(`${path.topic(topic)}/playheads`) })
    } catch (problem) {
      setState((before) => ({ ...before, problem }))
    }
  }, 3_000)
  const playheads = state.value?.playheads ?? []
  return html`<${Problem} problem=${state.problem} /><div class="card scroll"><table><thead><tr><th>Playhead</th><th>Last commit</th><th class="num">Events behind</th><th>Where it stands</th><th></th></tr></thead><tbody>
    ${playheads.map(({ name, committedAt, positions }) => html`<tr key=${name}><td>${name}</td><td class="mono">${committedAt}</td><td class="num">${count(positions.reduce((sum, { lag }) => sum + lag, 0))}</td><td class="mono">${positions.map(({ partition, offset }) => `${partition}:${offset}`).join(' ')}</td><td><${Copy} text=${`playhead rewind ${shellWord(topic)} ${shellWord(name)} --to start`}>Copy rewind<//></td></tr>`)}
  </tbody></table>${state.value && playheads.length === 0 && html`<p>No named playhead yet. <code>playhead replay ${topic} --as NAME --commit</code> makes one.</p>`}</div>`
}
