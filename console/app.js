/** The console: which screen the address names, the keys that work everywhere, light and dark. */
import { render } from './vendor/preact.js'
import { useEffect, useRef, useState } from './vendor/hooks.js'
import { get } from './api.js'
import { go, href, useRoute } from './route.js'
import { Access } from './screens/access.js'
import { Cluster } from './screens/cluster.js'
import { Decide } from './screens/decide.js'
import { Now } from './screens/now.js'
import { Readers } from './screens/readers.js'
import { Settings } from './screens/settings.js'
import { Story } from './screens/story.js'
import { Streams } from './screens/streams.js'
import { Topic, Topics } from './screens/topics.js'
import { lookAtSession } from './session.js'
import { SignIn, Who, useSession } from './sign-in.js'
import { html, usePoll } from './ui.js'

const pages = [
  { key: 'n', name: 'Now', parts: [] },
  { key: 't', name: 'Topics', parts: ['topics'] },
  { key: 's', name: 'Streams', parts: ['streams'] },
  { key: 'v', name: 'Views and readers', parts: ['readers'] },
  { key: 'd', name: 'Decide', parts: ['decide'] },
  { key: 'c', name: 'Cluster', parts: ['cluster'] },
  { key: 'o', name: 'Settings', parts: ['settings'] },
  { key: 'a', name: 'Access', parts: ['access'] },
]

function screenOf({ parts, values }) {
  const [first, topic, part, stream] = parts
  if (first === undefined) return html`<${Now} />`
  if (first === 'topics') return html`<${Topics} />`
  if (first === 't' && part === 's' && stream !== undefined)
    return html`<${Story} key=${`${topic}/${stream}`} topic=${topic} stream=${stream} values=${values} />`
  if (first === 't' && topic !== undefined) return html`<${Topic} key=${topic} topic=${topic} values=${values} />`
  if (first === 'streams') return html`<${Streams} values=${values} />`
  if (first === 'readers') return html`<${Readers} values=${values} />`
  if (first === 'decide') return html`<${Decide} values=${values} />`
  if (first === 'cluster') return html`<${Cluster} />`
  if (first === 'settings') return html`<${Settings} />`
  if (first === 'access') return html`<${Access} />`
  return html`<p>There is no such page. <a href="#/">Now</a></p>`
}

function useTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const [chosen, setChosen] = useState(localStorage.getItem('theme'))
  const [system, setSystem] = useState(dark.matches ? 'dark' : 'light')
  useEffect(() => {
    const changed = () => setSystem(dark.matches ? 'dark' : 'light')
    dark.addEventListener('change', changed)
    return () => dark.removeEventListener('change', changed)
  }, [])
  const theme = chosen ?? system
  useEffect(() => {
    document.documentElement.dataset.theme = theme
  }, [theme])
  const toggle = () => {
    const next = theme === 'dark' ? 'light' : 'dark'
    localStorage.setItem('theme', next)
    setChosen(next)
  }
  return [theme, toggle]
}

/** `g` and a letter goes to a page, `/` to the filter of the page, `?` tells the keys. */
function useKeys(showHelp) {
  const after = useRef('')
  useEffect(() => {
    const pressed = (event) => {
      const { key, target, ctrlKey, metaKey, altKey } = event
      if (ctrlKey || metaKey || altKey || target.closest('input, textarea, select, dialog')) return
      if (after.current === 'g') {
        const page = pages.find((each) => each.key === key)
        if (page) {
          event.stopImmediatePropagation()
          go(page.parts)
        }
      } else if (key === '?') showHelp()
      else if (key === '/') {
        const filter = document.querySelector('[data-filter]')
        if (filter) event.preventDefault()
        filter?.focus()
      }
      after.current = after.current === 'g' ? '' : key
    }
    addEventListener('keydown', pressed, true)
    return () => removeEventListener('keydown', pressed, true)
  }, [])
}

function Light() {
  const [state, setState] = useState({ on: undefined, text: 'connecting' })
  const { refusal } = useSession()
  usePoll(async () => {
    try {
      const { status, problems } = await get('/readyz')
      setState({ on: problems.length === 0, text: problems.length === 0 ? status : `${problems.length} problems` })
    } catch {
      setState({ on: false, text: 'not reachable; trying again' })
    }
  }, 5_000)
  if (refusal !== undefined) return html`<span role="status"><span class="light off"></span> not signed in</span>`
  return html`<span role="status"><span class=${`light ${state.on === undefined ? '' : state.on ? 'on' : 'off'}`}></span> ${state.text}</span>`
}

function App() {
  const route = useRoute()
  const [theme, toggleTheme] = useTheme()
  const help = useRef(null)
  const signIn = useRef(null)
  const { turn } = useSession()
  useKeys(() => help.current?.showModal())
  const current = route.parts[0] === 't' ? (route.parts[2] === 's' ? 'streams' : 'topics') : (route.parts[0] ?? '')
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault()
      document.getElementById('main').focus()
    }}>Skip to the content</a>
    <header class="top">
      <a class="name" href="#/"><img src="icon.svg" alt="" />Playhead</a>
      <nav aria-label="Pages">
        ${pages.map(({ name, parts }) => html`<a href=${href(parts)} aria-current=${(parts[0] ?? '') === current ? 'page' : undefined}>${name}</a>`)}
        <a href="api.html">API</a>
      </nav>
      <span class="right"><${Light} /><${Who} open=${() => signIn.current?.showModal()} /><button type="button" onClick=${toggleTheme} aria-label=${`${theme === 'dark' ? 'Light' : 'Dark'} colours`}>${theme === 'dark' ? '☀' : '☾'}</button><button type="button" onClick=${() => help.current?.showModal()}>Keys</button></span>
    </header>
    <main id="main" tabindex="-1"><${Screen} key=${turn} route=${route} /></main>
    <${SignIn} dialog=${signIn} />
    <dialog ref=${help} aria-label="Keys"><${KeysHelp} /><form method="dialog"><button>Close</button></form></dialog>`
}

/** With a key of its own for each principal, so that nothing of one is left on the screen of another. */
function Screen({ route }) {
  return screenOf(route)
}

function KeysHelp() {
  const rows = [
    ...pages.map(({ key, name }) => [`g ${key}`, name]),
    ['/', 'the filter of this page'],
    ['← →', 'story: one event back, one on; with Shift ten; with Alt the next of the same type'],
    ['Home End', 'story: the first event, the last one'],
    ['PageUp PageDown', 'story: to the next gap in time'],
    ['Space', 'story: play, stop'],
    ['F', 'story: follow live'],
    ['C', 'story: compare this moment with others; again: stop comparing'],
    ['D', 'story: what changed'],
    ['G', 'story: go to a version or a time'],
    ['Y', 'story: copy the link to what is shown'],
    ['X', 'story: export the events as NDJSON'],
  ]
  return html`<h2>Keys</h2><table>${rows.map(([keys, what]) => html`<tr><td><kbd>${keys}</kbd></td><td>${what}</td></tr>`)}</table>`
}

const place = document.getElementById('app')
place.replaceChildren()
lookAtSession().catch(() => {}) // not reachable: the light says so, and screens ask again
render(html`<${App} />`, place)
