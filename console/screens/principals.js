/** Principals: everybody whom the broker knows and what each may, for administrators. A page at a time from the broker. */
import { useState } from '../vendor/hooks.js'
import { get } from '../api.js'
import { Copy, Loading, Problem, Time, count, html, useLoaded } from '../ui.js'

const pageSize = 100

export function Principals() {
  const [afters, setAfters] = useState([undefined])
  const after = afters.at(-1)
  const { value, problem, loading } = useLoaded(
    (signal) => get('/api/principals', { after, limit: pageSize }, signal),
    `${after}`,
  )
  if (!value) return html`<${Problem} problem=${problem} />${loading && html`<${Loading} what="who there is" />`}`
  const last = value.principals.at(-1)?.principal
  return html`<${Problem} problem=${problem} />
    <div class="card scroll" aria-busy=${loading}><table data-principals><thead><tr><th>Principal</th><th>May</th><th>Tokens</th><th>Quota</th><th>Since</th></tr></thead><tbody>
      ${value.principals.map((each) => html`<${Principal} key=${each.principal} principal=${each} />`)}
    </tbody></table>${value.principals.length === 0 && html`<p>Nobody yet. Make somebody: <code>playhead user create alice</code>, then <code>playhead grant add user:alice read topic:carts</code>.</p>`}</div>
    <p class="row"><button type="button" disabled=${afters.length === 1} onClick=${() => setAfters(afters.slice(0, -1))}>Back</button><button type="button" disabled=${!value.more} onClick=${() => setAfters([...afters, last])}>Next</button><span class="quiet">page ${afters.length}</span><${Copy} text="playhead grant list">Copy as command<//></p>`
}

function Principal({ principal: { principal, changedAt, grants, tokens, tokenCount, quota } }) {
  return html`<tr data-principal-row=${principal}><td class="mono">${principal}</td>
    <td>${grants.length === 0 ? 'nothing' : html`<ul class="plain">${grants.map(({ operation, pattern }) => html`<li key=${`${operation} ${pattern}`}>${operation} <span class="mono">${pattern}</span></li>`)}</ul>`}</td>
    <td>${tokenCount > 0 && html`<details><summary>${count(tokenCount)}</summary><${Tokens} tokens=${tokens} count=${tokenCount} /></details>`}</td>
    <td>${
      quota &&
      Object.entries(quota)
        .filter(([, limit]) => limit > 0)
        .map(([name, limit]) => html`<div key=${name}>${name} ${count(limit)}</div>`)
    }</td>
    <td>${changedAt && html`<${Time} ms=${Date.parse(changedAt)} />`}</td></tr>`
}

function Tokens({ tokens, count: all }) {
  return html`<ul class="plain">${tokens.map(
    ({
      tokenId,
      description,
      scope,
      expiresAt,
      lastUsedAt,
    }) => html`<li key=${tokenId}><span class="mono">${tokenId}</span> ${description}
      ${scope.length > 0 && html`<div>only ${scope.map(({ operation, pattern }) => `${operation} ${pattern}`).join(', ')}</div>`}
      <div class="quiet">${expiresAt ? html`until <${Time} ms=${Date.parse(expiresAt)} />` : 'does not expire'}${lastUsedAt && html`, last used here <${Time} ms=${Date.parse(lastUsedAt)} />`}</div>
      <${Copy} text=${`playhead token revoke ${tokenId}`}>Copy: revoke it<//></li>`,
  )}</ul>${all > tokens.length && html`<p class="quiet">and ${count(all - tokens.length)} older ones: playhead token list</p>`}`
}
