/** Access: who I am to this broker, what I may, and how long; for administrators also who else there is. */
import { useEffect, useState } from '../vendor/hooks.js'
import { lookAtSession, signOut } from '../session.js'
import { reasonText, useSession } from '../sign-in.js'
import { Principals } from './principals.js'
import { Copy, Loading, Problem, Time, html } from '../ui.js'

export function Access() {
  const { who, refusal, hasToken } = useSession()
  const [problem, setProblem] = useState()
  useEffect(() => {
    void lookAtSession().then(
      () => setProblem(undefined),
      (failed) => setProblem(failed),
    )
  }, [])
  if (refusal !== undefined) return html`<h1>Access</h1><p class="note">${reasonText(refusal)}</p>`
  if (who === undefined)
    return html`<h1>Access</h1><${Problem} problem=${problem} />${!problem && html`<${Loading} what="who you are" />`}`
  if (!who.security)
    return html`<h1>Access</h1><p class="problem" role="alert">Security is off: everybody who reaches this broker may read and write everything.</p><p>Start it with <code>--security on</code>; docs/operations/security.md goes through it.</p>`
  return html`<h1>Access</h1><${Problem} problem=${problem} />
    <section class="card" aria-label="Who I am"><table><tbody>
      <tr><th>Principal</th><td class="mono" data-whoami>${who.principal}</td></tr>
      ${who.tokenId && html`<tr><th>Token</th><td class="mono">${who.tokenId}</td></tr>`}
      <tr><th>Holds until</th><td>${who.expiresAt ? html`<${Time} ms=${Date.parse(who.expiresAt)} />` : 'revoked: it does not expire by itself'}</td></tr>
      ${who.groups.length > 0 && html`<tr><th>Groups</th><td class="mono">${who.groups.join(', ')}</td></tr>`}
    </tbody></table>
    <p class="row">${hasToken && html`<button type="button" onClick=${signOut}>Sign out</button>`}${who.tokenId && html`<${Copy} text=${`playhead token revoke ${who.tokenId}`}>Copy: revoke this token<//>`}</p></section>
    <h2>What ${who.principal} may</h2>
    ${who.mayEverything ? html`<p>Everything.</p>` : html`<${Grants} grants=${who.grants} none="Nothing: no grant names this principal. What is not granted is denied." />`}
    ${who.scope && html`<h2>What this token leaves of that</h2><${Grants} grants=${who.scope} />`}
    ${administers(who) && html`<h2>Who there is</h2><${Principals} />`}`
}

/** Whether asking for the others makes sense at all; the broker decides. */
function administers({ mayEverything, grants, scope }) {
  const has = (each) => each.some(({ operation, pattern }) => operation === 'admin' && pattern === 'cluster')
  return (mayEverything || has(grants)) && (scope === undefined || has(scope))
}

function Grants({ grants, none = '' }) {
  if (grants.length === 0) return html`<p>${none}</p>`
  return html`<div class="card scroll"><table><thead><tr><th>Operation</th><th>On</th></tr></thead><tbody>
    ${grants.map(({ operation, pattern }) => html`<tr key=${`${operation} ${pattern}`}><td>${operation}</td><td class="mono">${pattern}</td></tr>`)}</tbody></table></div>`
}
