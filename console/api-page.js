/** The HTTP interface as a page, made of the document that the broker serves at /api/openapi.json. */
import { render } from './vendor/preact.js'
import { html } from './ui.js'

document.documentElement.dataset.theme =
  localStorage.getItem('theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')

function typeOf(schema = {}) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.type === 'array') return `array of ${typeOf(schema.items)}`
  const range = schema.maximum < Number.MAX_SAFE_INTEGER ? ` ${schema.minimum ?? 0} to ${schema.maximum}` : ''
  return `${schema.title ?? schema.type ?? 'anything'}${range}`
}

function Fields({ schema = {} }) {
  const given = schema.anyOf?.find(({ properties }) => properties) ?? (schema.items?.properties ? schema.items : schema)
  const fields = Object.entries(given.properties ?? {})
  if (fields.length === 0) return null
  const required = new Set(given.required ?? [])
  return html`<div class="scroll"><table><tbody>${fields.map(([name, field]) => html`<tr><td class="mono">${name}${required.has(name) ? ' *' : ''}</td><td>${typeOf(field)}</td><td>${field.description ?? ''}</td></tr>`)}</tbody></table></div>`
}

function Route({ path, method, route }) {
  const { parameters = [], requestBody, responses = {} } = route
  return html`<section class="card"><h2><code>${method.toUpperCase()} ${path}</code></h2><p>${route.summary}</p>
    ${parameters.length > 0 && html`<div class="scroll"><table><tbody>${parameters.map(({ name, in: place, schema, description, required }) => html`<tr><td class="mono">${name}${required ? ' *' : ''}</td><td>${place}</td><td>${typeOf(schema)}</td><td>${description ?? schema?.description ?? ''}</td></tr>`)}</tbody></table></div>`}
    ${Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => html`<p class="quiet">body, <code>${type}</code>: ${typeOf(schema)}</p><${Fields} schema=${schema} />`)}
    ${Object.entries(responses)
      .filter(([status]) => status.startsWith('2'))
      .map(([status, { content = {} }]) =>
        Object.values(content).map(
          ({ schema }) => html`<p class="quiet">answer ${status}</p><${Fields} schema=${schema} />`,
        ),
      )}</section>`
}

const described = await (await fetch('api/openapi.json')).json()
const routes = Object.entries(described.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, route]) => ({ path, method, route })),
)
const place = document.getElementById('app')
place.replaceChildren()
render(
  html`<h1>HTTP interface <span class="quiet">release ${described.info.version}</span></h1><p>${described.info.description} <a href="api/openapi.json">OpenAPI document</a></p>
    ${routes.filter(({ route }) => route.summary).map((each) => html`<${Route} ...${each} />`)}`,
  place,
)
