/**
 * The generated parts of docs/protocol.md and docs/formats/record-batch.md: tables of apis, their header fields and errors, taken from the
 * tables that the code runs with, field texts from the comments beside them, and the bytes of the golden frames. A part stands between
 * `<!-- generated: name -->` and `<!-- end -->`. `node test/protocol/protocol-doc.ts` writes the parts anew; protocol-doc.test.ts fails
 * while they are stale.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { apis } from '../../protocol/api.ts'
import type { ApiName } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { errorTable } from '../../protocol/errors.ts'
import type { Field, Shape } from '../../protocol/header-schema.ts'
import { token } from '../../protocol/token.ts'
import { exampleFrames, exampleBatch } from './example-frames.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const pages = ['docs/protocol.md', 'docs/formats/record-batch.md'] as const

/** What the comments of a struct in the source say: about itself, and about each of its fields. */
interface StructText {
  readonly about: string
  readonly fields: ReadonlyMap<string, string>
}

const structTexts = readStructTexts()

const parts: Readonly<Record<string, () => string>> = {
  apis: apiTable,
  'api details': () => (Object.keys(apis) as ApiName[]).map(apiDetails).join('\n\n'),
  failure: () => fieldTable(failure),
  errors: errorRows,
  'example frames': () => exampleFrames.map(({ name, bytes }) => `\`${name}\`\n${hexBlock(bytes)}`).join('\n\n'),
  'example batch': () => hexBlock(exampleBatch),
}

/** The page with its generated parts as they should be. */
export function renewed(page: string): string {
  return readFileSync(root + page, 'utf8').replace(
    /<!-- generated: ([a-z ]+) -->\n[^]*?<!-- end -->/g,
    (_, name: string) => {
      const part = parts[name]
      if (part === undefined) throw new Error(`${page}: no generated part is called ${name}`)
      return `<!-- generated: ${name} -->\n${part()}\n<!-- end -->`
    },
  )
}

function apiTable(): string {
  const rows = Object.entries(apis).map(
    ([name, row]) =>
      `| ${row.number} | [\`${name}\`](#${name.toLowerCase()}) | ${row.minVersion}–${row.maxVersion} | ${row.permission} | ${row.doc} |`,
  )
  return ['| api | name | versions | permission | |', '|---|---|---|---|---|', ...rows].join('\n')
}

function apiDetails(name: ApiName): string {
  const row = apis[name]
  const lines = [`### ${name}`, '', `Api ${row.number}. ${row.doc}`]
  for (const [kind, field] of [
    ['Request', row.request],
    ['Reply', row.reply],
  ] as const) {
    const { about = '' } = structTexts.get(textKey(field)) ?? {}
    lines.push('', `${kind} header${about === '' ? '' : `. ${about}`}`, '', fieldTable(field))
  }
  return lines.join('\n')
}

function fieldTable(field: Field<unknown>): string {
  const rows = fieldRows(field.shape ?? {}, textKey(field), '')
  return rows.length === 0 ? 'An empty array.' : ['| field | type | |', '|---|---|---|', ...rows].join('\n')
}

function fieldRows(shape: Shape, key: string, path: string): string[] {
  return Object.entries(shape).flatMap(([name, field]) => {
    const row = `| \`${path}${name}\` | ${typeText(field)} | ${structTexts.get(key)?.fields.get(name) ?? ''} |`
    const inner = innermost(field)
    if (inner.shape === undefined || (inner as unknown) === token) return [row]
    return [row, ...fieldRows(inner.shape, textKey(inner), `${path}${name}${isList(field) ? '[]' : ''}.`)]
  })
}

function typeText(field: Field<unknown>): string {
  if ((innermost(field) as unknown) === token) return `token${field.element === undefined ? '' : ', or null'}`
  if (isList(field)) {
    const inner = field.element as Field<unknown>
    return `${field.doc.slice(0, field.doc.indexOf(' of ('))} of ${inner.shape === undefined ? typeText(inner) : 'arrays of'}`
  }
  if (field.shape !== undefined) return 'array of'
  if (field.element !== undefined) return `${typeText(field.element)}, or null`
  return field.doc.replaceAll('|', 'or')
}

const isList = (field: Field<unknown>): boolean => field.element !== undefined && field.doc.startsWith('list')
const innermost = (field: Field<unknown>): Field<unknown> =>
  field.element === undefined ? field : innermost(field.element)
const textKey = (field: Field<unknown>): string => Object.keys(field.shape ?? {}).join()

/** Structs are known by the names of their fields: the same ones mean the same thing everywhere. */
function readStructTexts(): ReadonlyMap<string, StructText> {
  const texts = new Map<string, StructText>()
  for (const file of readdirSync(`${root}protocol`)) {
    const lines = readFileSync(`${root}protocol/${file}`, 'utf8').split('\n')
    for (const [index, line] of lines.entries()) {
      if (!/^(export )?const \w+ = struct\(\{/.test(line)) continue
      const oneLine = line.includes('})')
      const end = oneLine ? index : lines.indexOf('})', index)
      const body = oneLine ? [] : lines.slice(index + 1, end)
      const named = oneLine ? [...line.matchAll(/(\w+): /g)].map((match) => match[1] as string) : []
      const fields = new Map<string, string>(named.map((name) => [name, '']))
      let comment: string[] = []
      for (const inner of body) {
        const name = /^ {2}(\w+)[:,]/.exec(inner)?.[1]
        if (/^ {2}(\/\*\*| \*)/.test(inner)) comment.push(inner)
        else if (name !== undefined) {
          fields.set(name, plainText(comment))
          comment = []
        }
      }
      texts.set([...fields.keys()].join(), { about: plainText(commentBefore(lines, index)), fields })
    }
  }
  return texts
}

function commentBefore(lines: readonly string[], index: number): string[] {
  let at = index
  while (at > 0 && /^(\/\*\*| \*)/.test(lines[at - 1] as string)) at--
  return at === 0 ? [] : lines.slice(at, index) // the comment at the head of the file is about the file
}

function plainText(comment: readonly string[]): string {
  return comment
    .map((line) =>
      line
        .replace(/^\s*\/?\*+\/?/, '')
        .replace(/\*\/\s*$/, '')
        .trim(),
    )
    .filter((line) => line !== '')
    .join(' ')
}

function errorRows(): string {
  const rows = Object.entries(errorTable).map(
    ([code, { number, retriable, http }]) => `| ${number} | \`${code}\` | ${retriable ? 'yes' : ''} | ${http} |`,
  )
  return ['| number | error | retriable | HTTP |', '|---|---|---|---|', ...rows].join('\n')
}

function hexBlock(bytes: Buffer): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += 32) {
    const hex = bytes.toString('hex', at, at + 32)
    lines.push((hex.match(/.{1,8}/g) ?? []).join(' '))
  }
  return ['```', ...lines, '```'].join('\n')
}

if (import.meta.main) for (const page of pages) writeFileSync(root + page, renewed(page))
