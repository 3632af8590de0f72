/** Append form: one event, on the version that was seen. A refusal is explained: what the version was, and which events came in between. */
import { useEffect, useState } from './vendor/hooks.js'
import { get, path, send } from './api.js'
import { Copy, Problem, count, html, shellWord } from './ui.js'

const shownBetween = 20

/** `submit`: a ref that gets the function which appends. `onAppended` hears the answer. */
export function AppendForm({ topic, stream, version, type: firstType = '', data: firstData = {}, submit, onAppended }) {
  const [type, setType] = useState(firstType)
  const [data, setData] = useState(JSON.stringify(firstData))
  const [expected, setExpected] = useState(textOf(version))
  const [outcome, setOutcome] = useState({})
  useEffect(() => setExpected(textOf(version)), [version])
  const append = async () => {
    setOutcome({ waiting: true })
    let parsed
    try {
      parsed = JSON.parse(data)
    } catch (error) {
      return setOutcome({
        problem: { code: 'invalidEvent', detail: `data: found no JSON (${error.message}), wanted some` },
      })
    }
    try {
      const appended = await send(
        'POST',
        path.stream(topic, stream),
        { type, data: parsed },
        { expectedVersion: expected },
      )
      setOutcome({ appended })
      onAppended?.(appended)
    } catch (problem) {
      setOutcome({
        problem,
        between: problem.code === 'wrongExpectedVersion' ? await eventsBetween(topic, stream, problem) : undefined,
      })
    }
  }
  if (submit) submit.current = append
  return html`<form class="append" onSubmit=${(event) => {
    event.preventDefault()
    void append()
  }}>
    <div class="row"><label>Type<input name="type" required value=${type} onInput=${(event) => setType(event.target.value)} /></label>
      <label>Data (JSON)<input name="data" size="28" value=${data} spellcheck=${false} onInput=${(event) => setData(event.target.value)} /></label>
      <label>Expected version<input name="expected" size="8" value=${expected} onInput=${(event) => setExpected(event.target.value)} /></label>
      <button class="main" disabled=${outcome.waiting}>Append</button>
      <${Copy} text=${`playhead append ${[topic, stream].map(shellWord).join(' ')} --type ${shellWord(type)} --data ${shellWord(data)} --expected-version ${shellWord(expected)}`}>Copy as command<//></div>
    <div aria-live="polite">
      ${outcome.appended && html`<p class="won">Written as version ${count(outcome.appended.version)}, durable.</p>`}
      ${outcome.between ? html`<${Conflict} ...${outcome} onTake=${(found) => setExpected(textOf(found))} />` : html`<${Problem} problem=${outcome.problem} />`}
    </div></form>`
}

function textOf(version) {
  return version === undefined ? 'any' : version < 0 ? 'none' : String(version)
}

/** The events that whoever decided did not know of. */
async function eventsBetween(topic, stream, { conflicts }) {
  const { expected, found } = conflicts[0]
  if (found <= expected) return []
  try {
    return (await get(path.stream(topic, stream), { from: expected + 1, limit: shownBetween })).events
  } catch {
    return [] // whoever may append may not be allowed to read
  }
}

function Conflict({ problem, between, onTake }) {
  const { stream, expected, found } = problem.conflicts[0]
  const seen = expected < 0 ? 'that there was no event yet' : `version ${count(expected)}`
  const is = found < 0 ? 'there is no event' : `it is at version ${count(found)}`
  return html`<div class="problem" role="alert" data-conflict>
    <b>Refused, nothing was written.</b> You decided on ${seen} of ${stream}; ${is}. ${found > expected ? `${count(found - expected)} ${found - expected === 1 ? 'event' : 'events'} came in between:` : 'Nobody has come that far.'}
    <ol start=${expected + 1}>${between.map((event) => html`<li key=${event.version}><b>${event.type}</b> <code>${JSON.stringify(event.data)?.slice(0, 200)}</code> <span class="mono">${event.timestamp}</span></li>`)}</ol>
    <p>Look at what came, decide again, and if it still holds:</p>
    <button type="button" onClick=${() => onTake(found)}>Expect version ${found < 0 ? 'none' : count(found)} instead</button>
  </div>`
}
