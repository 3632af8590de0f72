/**
 * Validation: requests against the schemas of schemas.ts, before a route sees them. What comes as text (path, query, headers) is converted strictly:
 * an integer is digits, a boolean is true or false; bodies are taken as they are. Every refusal is a PlayheadError that names the place, what was
 * found and what was wanted. Called by fastify.
 * Invariant: no body gets to a route that has a schema for bodies without one of them having looked at it.
 */
import type { FastifyInstance, FastifyRequest, FastifySchemaCompiler, preValidationHookHandler } from 'fastify'
import type { TSchema } from 'typebox'
import { PlayheadError } from '../../protocol/errors.ts'
import { compileSchema } from './schema.ts'
import type { SchemaChecker } from './schema.ts'

type Check = (value: unknown) => PlayheadError | undefined
type Properties = Readonly<Record<string, { readonly type?: string }>>

const parts: Readonly<Record<string, string>> = {
  querystring: 'query',
  params: 'path',
  headers: 'header',
  body: 'body',
}
const foundCharactersMax = 64
const integerText = /^-?\d{1,16}$/

export const validateRequest: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => {
  const part = parts[httpPart] ?? httpPart
  if (httpPart === 'body') {
    const check = bodyCheck(schema)
    return (value: unknown) => answer(check(value), value)
  }
  const check = checkOf(schema, part)
  const properties = propertiesOf(schema)
  return (value: unknown) => {
    const converted = convertTexts(properties, value)
    return answer(check(converted), converted)
  }
}

/**
 * For routes that are registered from now on. Where one has a schema for each type of content, fastify looks with that of the type that the request
 * names, and with none where the request names no type, as one without a body does: whatever came would pass.
 */
export function refuseUncheckedBodies(server: FastifyInstance): void {
  server.addHook('onRoute', (route) => {
    const body: unknown = route.schema?.body
    if (typeof body !== 'object' || body === null || !('content' in body)) return
    const types = Object.keys(body.content as object)
    const check: preValidationHookHandler = (request, _reply, done) => done(uncheckedBody(request, types))
    route.preValidation = [check, ...[route.preValidation ?? []].flat()]
  })
}

function uncheckedBody({ mediaType }: FastifyRequest, types: readonly string[]): PlayheadError | undefined {
  if (mediaType !== undefined && types.includes(mediaType)) return undefined
  const found = mediaType === undefined ? 'no body' : JSON.stringify(mediaType.slice(0, foundCharactersMax))
  return new PlayheadError('invalidArgument', `body: found ${found}, wanted ${types.join(' or ')}; see docs/http.md`)
}

function answer(error: PlayheadError | undefined, value: unknown): { error: PlayheadError } | { value: unknown } {
  return error === undefined ? { value } : { error }
}

/** "One or more" is looked at as the one that it is: else all that is wrong with it would be told as neither. */
function bodyCheck(schema: TSchema): Check {
  const [one, more] = 'anyOf' in schema && Array.isArray(schema.anyOf) ? (schema.anyOf as TSchema[]) : []
  if (one === undefined || more === undefined) return checkOf(schema, 'body')
  const checkOne = checkOf(one, 'body')
  const checkMore = checkOf(more, 'body')
  return (value) => (Array.isArray(value) ? checkMore(value) : checkOne(value))
}

function checkOf(schema: TSchema, part: string): Check {
  let compiled: SchemaChecker | undefined
  const isEvent = 'title' in schema || 'items' in schema
  const code = part === 'body' && isEvent ? 'invalidEvent' : 'invalidArgument'
  const itemsMax = 'maxItems' in schema ? Number(schema.maxItems) : Infinity
  return (value) => {
    // How many there are is known before any of them is looked at.
    if (Array.isArray(value) && value.length > itemsMax) {
      return new PlayheadError(
        code,
        `${part}: found ${value.length} items, wanted at most ${itemsMax} items; send them in several requests`,
      )
    }
    compiled ??= compileSchema(schema)
    if (compiled.Check(value)) return undefined
    // The first says most: what does not fit stands before what follows from it.
    const [, [first]] = compiled.Errors(value)
    const place = first === undefined ? '' : first.instancePath.replaceAll('/', '.')
    const wanted =
      first?.message.replace(/^schema is false$/, 'it not to be there: the name is not known') ?? 'another value'
    return new PlayheadError(
      code,
      `${part}${place}: found ${foundAt(value, first?.instancePath)}, ${wantedText(wanted)}; see docs/http.md`,
    )
  }
}

function wantedText(message: string): string {
  return message.startsWith('must ') ? `but it ${message}` : `wanted ${message}`
}

function foundAt(value: unknown, path = ''): string {
  let at: unknown = value
  for (const name of path.split('/').slice(1)) {
    at = typeof at === 'object' && at !== null ? Reflect.get(at, name.replaceAll('~1', '/').replaceAll('~0', '~')) : at
  }
  if (Array.isArray(at)) return `${at.length} items`
  if (typeof at === 'object' && at !== null) return 'an object'
  return JSON.stringify(at)?.slice(0, foundCharactersMax) ?? 'nothing'
}

function propertiesOf(schema: TSchema): Properties {
  return 'properties' in schema ? (schema.properties as Properties) : {}
}

/** Texts of the request as what the schema says they are; what is not one stays a text, which the check then refuses. */
function convertTexts(properties: Properties, value: unknown): Record<string, unknown> {
  const converted: Record<string, unknown> = { ...(value as Record<string, unknown>) }
  for (const [name, { type }] of Object.entries(properties)) {
    const text = converted[name]
    if (typeof text !== 'string') continue
    if (type === 'integer' && integerText.test(text)) converted[name] = Number(text)
    else if (type === 'boolean' && text === 'true') converted[name] = true
    else if (type === 'boolean' && text === 'false') converted[name] = false
  }
  return converted
}
