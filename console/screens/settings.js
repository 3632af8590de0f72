/** Settings of the broker: value, default, and what each does. */
import { useState } from '../vendor/hooks.js'
import { get } from '../api.js'
import { session } from '../session.js'
import { Loading, Problem, html, useLoaded } from '../ui.js'

export function Settings() {
  const [filter, setFilter] = useState('')
  const { value, problem } = useLoaded((signal) => get('/api/settings', {}, signal), '')
  if (!value) return html`<${Problem} problem=${problem} />${!problem && html`<${Loading} what="settings" />`}`
  const rows = value.settings.filter(({ name, doc }) => `${name} ${doc}`.toLowerCase().includes(filter.toLowerCase()))
  const host = value.settings.find(({ name }) => name === 'host')?.value
  const { who } = session
  return html`<h1>Settings</h1>
    ${who?.security === false && html`<p class="note">Access: security is off, so everybody who reaches ${host} may read and write everything.</p>`}
    <p class="row"><label>Contains<input data-filter value=${filter} onInput=${(event) => setFilter(event.target.value)} /></label></p>
    <div class="card scroll"><table><thead><tr><th>Setting</th><th>Value</th><th>Default</th><th>Unit</th><th>What it does</th></tr></thead><tbody>
    ${rows.map(({ name, value: current, default: initial, unit, doc }) => html`<tr key=${name}><td class="mono">${name}</td><td class="mono">${String(current) === String(initial) ? current : html`<b>${current}</b>`}</td><td class="mono quiet">${initial}</td><td>${unit}</td><td>${doc}</td></tr>`)}</tbody></table></div>`
}
