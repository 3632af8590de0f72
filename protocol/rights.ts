/**
 * Rights: who may do what to which things, as users write it and as it is asked. A grant gives a principal one operation on what a pattern
 * covers; nothing is allowed that no grant gives, and there are no grants that forbid. Patterns:
 *
 *   cluster                      the broker itself: its status and metrics (read), users, tokens, grants and quotas (admin)
 *   topic:carts  topic:shop-*    a topic with all its streams and playheads; `*` at the end = every name that begins so
 *   stream:carts/customer-*      streams of one topic; the topic's name ends at the first /
 *   playhead:carts/billing       named playheads of one topic
 *
 * Invariant: topics that begin with __ are covered only by patterns that begin with __ themselves.
 * Neighbours: broker/security asks, the command line checks what users write.
 */
import { PlayheadError } from './errors.ts'
import { streamNameBytesMax, topicNameBytesMax } from './limits.ts'
import { isInternalTopic } from './names.ts'

export const operations = ['read', 'append', 'create', 'admin'] as const
export type Operation = (typeof operations)[number]

/** What is asked for. A stream of null = a record without a key: only whole topics cover it. */
export type Resource =
  | { readonly kind: 'cluster' }
  | { readonly kind: 'topic'; readonly topic: string }
  | { readonly kind: 'stream' | 'playhead'; readonly topic: string; readonly name: string | null }
  /** All streams whose names begin so. */
  | { readonly kind: 'streams'; readonly topic: string; readonly prefix: string }

export const cluster: Resource = { kind: 'cluster' }
export const topicResource = (topic: string): Resource => ({ kind: 'topic', topic })
export const streamResource = (topic: string, name: string | null): Resource => ({ kind: 'stream', topic, name })
export const playheadResource = (topic: string, name: string): Resource => ({ kind: 'playhead', topic, name })

/** A name, or the beginning of names. */
interface NamePattern {
  readonly text: string
  readonly isPrefix: boolean
}

interface Pattern {
  readonly kind: 'cluster' | 'topic' | 'stream' | 'playhead'
  readonly topic: NamePattern
  readonly name: NamePattern
}

/** One right as it is kept and sent. */
export interface Grant {
  readonly operation: Operation
  readonly pattern: string
}

/** What some grants allow together. */
export class Rights {
  readonly #patterns: readonly { readonly operation: Operation; readonly pattern: Pattern }[]

  /** Throws invalidGrant. */
  constructor(grants: readonly Grant[]) {
    this.#patterns = grants.map(({ operation, pattern }) => ({
      operation: operationOf(operation),
      pattern: parsePattern(pattern),
    }))
  }

  allow(operation: Operation, resource: Resource): boolean {
    for (const grant of this.#patterns)
      if (grant.operation === operation && covers(grant.pattern, resource)) return true
    return false
  }

  /** Whether any grant is about the topic or about something in it: enough to see that it exists and how it is made. */
  touch(topic: string): boolean {
    return this.#patterns.some(({ pattern }) => pattern.kind !== 'cluster' && matchesTopic(pattern.topic, topic))
  }

  /** Whether the operation is allowed on at least something in the topic. */
  allowSome(operation: Operation, topic: string): boolean {
    return this.#patterns.some(
      (grant) =>
        grant.operation === operation && grant.pattern.kind !== 'cluster' && matchesTopic(grant.pattern.topic, topic),
    )
  }
}

/** Throws invalidGrant unless the text is one of the four operations. */
export function operationOf(text: string): Operation {
  const found = operations.find((each) => each === text)
  if (found !== undefined) return found
  throw invalidGrant(`found operation ${JSON.stringify(text)}, wanted one of ${operations.join(', ')}`)
}

/** Throws invalidGrant for a pattern that is none. */
export function checkPattern(text: string): void {
  parsePattern(text)
}

/** In words, for messages. */
export function describeResource(resource: Resource): string {
  switch (resource.kind) {
    case 'cluster':
      return 'cluster'
    case 'topic':
      return `topic:${resource.topic}`
    case 'streams':
      return `stream:${resource.topic}/${resource.prefix}*`
    default:
      return resource.name === null
        ? `topic:${resource.topic} (records without a stream)`
        : `${resource.kind}:${resource.topic}/${resource.name}`
  }
}

function covers(pattern: Pattern, resource: Resource): boolean {
  if (resource.kind === 'cluster' || pattern.kind === 'cluster') return resource.kind === pattern.kind
  if (!matchesTopic(pattern.topic, resource.topic)) return false
  if (pattern.kind === 'topic') return true
  if (resource.kind === 'topic') return false
  if (resource.kind === 'streams')
    return pattern.kind === 'stream' && pattern.name.isPrefix && resource.prefix.startsWith(pattern.name.text)
  return pattern.kind === resource.kind && resource.name !== null && matches(pattern.name, resource.name)
}

function matchesTopic(pattern: NamePattern, topic: string): boolean {
  return matches(pattern, topic) && (!isInternalTopic(topic) || isInternalTopic(pattern.text))
}

function matches({ text, isPrefix }: NamePattern, name: string): boolean {
  return isPrefix ? name.startsWith(text) : name === text
}

const nothing: NamePattern = { text: '', isPrefix: false }

function parsePattern(text: string): Pattern {
  if (text === 'cluster') return { kind: 'cluster', topic: nothing, name: nothing }
  const [, kind, rest] = /^(topic|stream|playhead):(.+)$/s.exec(text) ?? []
  if (kind === 'topic' && rest !== undefined) return { kind, topic: topicPattern(rest, text), name: nothing }
  const slash = rest?.indexOf('/') ?? -1
  if ((kind === 'stream' || kind === 'playhead') && rest !== undefined && slash > 0 && slash < rest.length - 1) {
    const name = namePattern(rest.slice(slash + 1))
    if (Buffer.byteLength(name.text) <= streamNameBytesMax && name.text.isWellFormed())
      return { kind, topic: topicPattern(rest.slice(0, slash), text), name }
  }
  throw malformed(text)
}

function topicPattern(text: string, whole: string): NamePattern {
  const pattern = namePattern(text)
  if (!/^[A-Za-z0-9._-]*$/.test(pattern.text) || pattern.text.length > topicNameBytesMax) throw malformed(whole)
  if (pattern.text === '' && !pattern.isPrefix) throw malformed(whole)
  return pattern
}

function namePattern(text: string): NamePattern {
  return text.endsWith('*') ? { text: text.slice(0, -1), isPrefix: true } : { text, isPrefix: false }
}

function malformed(text: string): PlayheadError {
  return invalidGrant(
    `found ${JSON.stringify(text.slice(0, 200))}, wanted cluster, topic:NAME, stream:TOPIC/NAME or playhead:TOPIC/NAME, with * at the end for all names that begin so`,
  )
}

function invalidGrant(what: string): PlayheadError {
  return new PlayheadError('invalidGrant', `grant: ${what}; see docs/operations/security.md`)
}
