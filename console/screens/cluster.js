/** Cluster: which brokers there are. */
import { get } from '../api.js'
import { Loading, Problem, bytes, duration, html, useLoaded } from '../ui.js'

export function Cluster() {
  const { value, problem } = useLoaded((signal) => get('/api/status', {}, signal), '')
  if (!value) return html`<${Problem} problem=${problem} />${!problem && html`<${Loading} what="the cluster" />`}`
  return html`<h1>Cluster <span class="mono quiet">${value.clusterId}</span></h1>
    <div class="card scroll"><table><thead><tr><th class="num">Broker</th><th>Release</th><th>Up for</th><th>Data</th><th class="num">Partitions</th><th class="num">Logs</th><th>Problems</th></tr></thead><tbody>
    <tr><td class="num">${value.brokerId}</td><td>${value.release}</td><td>${duration(value.uptimeMs)}</td><td class="mono">${value.dataDirectory}</td><td class="num">${value.partitions}</td><td class="num">${bytes(value.logBytes)}</td><td>${value.problems.length === 0 ? 'none' : value.problems.join('; ')}</td></tr></tbody></table></div>
    <p class="quiet">One broker: what is acknowledged is durable on its disk, and on no other.</p>`
}
