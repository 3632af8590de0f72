/** Sign in: the dialog that takes a token, with the reason why; who is signed in, for the head of every page. */
import { useEffect, useReducer, useRef, useState } from './vendor/hooks.js'
import { href } from './route.js'
import { onSession, session, signIn, signOut } from './session.js'
import { html } from './ui.js'

const reasons = {
  missing: 'This broker wants to know who you are.',
  expired: 'Your token has expired.',
  revoked: 'Your token was revoked.',
  unknown: 'The broker does not know this token.',
  signedOut: 'You have signed out.',
}

export function reasonText(problem) {
  return reasons[problem?.details?.reason] ?? problem?.detail ?? ''
}

/** The session as it is now; the caller is drawn again when that changes. */
export function useSession() {
  const [, changed] = useReducer((count) => count + 1, 0)
  useEffect(() => onSession(changed), [])
  return session
}

export function Who({ open }) {
  const { who, refusal, hasToken } = useSession()
  if (refusal !== undefined) return html`<button type="button" class="main" onClick=${open}>Sign in</button>`
  if (who === undefined) return null
  if (!who.security) return html`<a href=${href(['access'])} class="quiet">security is off</a>`
  return html`<a href=${href(['access'])} data-principal>${who.principal}</a>${hasToken && html`<button type="button" onClick=${signOut}>Sign out</button>`}`
}

export function SignIn({ dialog }) {
  const { refusal, who } = useSession()
  const [text, setText] = useState('')
  const [problem, setProblem] = useState()
  const [isBusy, setBusy] = useState(false)
  const shown = useRef(undefined)
  useEffect(() => {
    if (refusal !== undefined && shown.current !== refusal && !dialog.current.open) dialog.current.showModal()
    if (refusal === undefined) dialog.current.close()
    shown.current = refusal
  }, [refusal])
  const submit = async (event) => {
    event.preventDefault()
    setBusy(true)
    try {
      await signIn(text.trim())
      setProblem(undefined)
      dialog.current.close()
    } catch (failed) {
      setProblem(failed)
    }
    // Not kept in the page longer than it takes.
    setText('')
    setBusy(false)
  }
  const why = problem === undefined ? reasonText(refusal) : reasonText(problem)
  return html`<dialog ref=${dialog} aria-label="Sign in" data-sign-in>
    <form onSubmit=${submit}><h2>Sign in</h2>
      ${why && html`<p role="alert" data-reason=${(problem ?? refusal)?.details?.reason} class=${problem ? 'problem' : 'note'}>${why}</p>`}
      ${refusal !== undefined && who !== undefined && html`<p class="quiet">You were ${who.principal}. Sign in as that again, and what is on this page stays as it is.</p>`}
      <label>Token<input type="password" name="token" size="44" required autocomplete="off" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      <p class="quiet">Forgotten when this tab is closed. No token yet? Somebody who may: <code>playhead token create --for user:NAME --expires 12h</code>. The first one is in <code>admin.token</code> in the data directory.</p>
      <div class="row"><button class="main" disabled=${isBusy}>Sign in</button><button type="button" onClick=${() => dialog.current.close()}>Not now</button></div>
    </form></dialog>`
}
