/** Fold editor: the function that makes a state of the events, kept in this browser for each topic. It runs in the worker and can reach nothing from there. */
import { useState } from '../vendor/hooks.js'
import { html } from '../ui.js'

const example = `{
  initial: () => ({ events: 0, articles: 0, pence: 0 }),
  apply(state, event) {
    state.events += 1
    state.articles += event.data.Quantity ?? 0
    state.pence += (event.data.Quantity ?? 0) * Math.round((event.data.UnitPrice ?? 0) * 100)
    return state
  },
}`

const keyOf = (topic) => `fold of ${topic}`

export function keptFold(topic) {
  return localStorage.getItem(keyOf(topic)) ?? undefined
}

export function FoldEditor({ topic, problem, onUse }) {
  const [source, setSource] = useState(keptFold(topic) ?? example)
  const use = (event) => {
    event.preventDefault()
    localStorage.setItem(keyOf(topic), source)
    onUse(source)
  }
  const reset = () => {
    localStorage.removeItem(keyOf(topic))
    onUse(undefined)
  }
  return html`<details class="card fold"><summary>How the state is made of the events</summary>
    <p class="quiet">By default: the last value of each field. Or by a function of yours, of this browser alone: it runs in a worker without a network.</p>
    <form onSubmit=${use}><textarea name="fold" aria-label="Fold" spellcheck=${false} value=${source} onInput=${(event) => setSource(event.target.value)}></textarea>
      <div class="row"><button class="main">Use this function</button><button type="button" onClick=${reset}>The last value of each field</button></div></form>
    ${problem && html`<div class="problem" role="alert">The fold: ${problem}</div>`}</details>`
}
