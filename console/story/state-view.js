/** State view: a state as a table of its fields, those that the last event changed marked; and the difference of two states. */
import { html } from '../ui.js'

const fieldsMax = 500
const textMax = 20_000

function textOf(value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)
  return text === undefined
    ? ''
    : text.length > textMax
      ? `${text.slice(0, textMax)} … (${text.length} characters)`
      : text
}

const isPlain = (value) => value !== null && typeof value === 'object' && !Array.isArray(value)
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other)

export function StateView({ state, before }) {
  if (!isPlain(state)) return html`<pre data-state>${textOf(state)}</pre>`
  const fields = Object.keys(state)
  if (fields.length === 0) return html`<p class="quiet">Nothing is known yet.</p>`
  return html`<table class="state" data-state><tbody>${fields.slice(0, fieldsMax).map((field) => html`<tr key=${field} class=${isPlain(before) && !same(before[field], state[field]) ? 'changed' : ''}><th scope="row">${field}</th><td><pre>${textOf(state[field])}</pre></td></tr>`)}</tbody></table>
    ${fields.length > fieldsMax && html`<p class="quiet">${fields.length - fieldsMax} more fields.</p>`}`
}

export function Difference({ before, after }) {
  const one = isPlain(before) ? before : { value: before }
  const other = isPlain(after) ? after : { value: after }
  const changed = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    (field) => !same(one[field], other[field]),
  )
  if (changed.length === 0) return html`<p class="quiet">No field is different.</p>`
  return html`<table class="state" data-difference><thead><tr><th>Field</th><th>before</th><th>after</th></tr></thead><tbody>${changed.slice(0, fieldsMax).map((field) => html`<tr key=${field}><th scope="row">${field}</th><td class="old"><pre>${textOf(one[field])}</pre></td><td class="new"><pre>${textOf(other[field])}</pre></td></tr>`)}</tbody></table>`
}
