/** Numbers on the wire are a contract: what once stood in test/golden/wire-numbers.json stays as it is; new rows are added there. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { apiName, apis } from '../../protocol/api.ts'
import { PlayheadError, errorCode, errorTable, isPlayheadError } from '../../protocol/errors.ts'
import type { ErrorCode } from '../../protocol/errors.ts'

const golden = JSON.parse(readFileSync(new URL('../golden/wire-numbers.json', import.meta.url), 'utf8')) as Record<
  'apis' | 'errors',
  Record<string, number>
>

function numbersOf(table: Readonly<Record<string, { readonly number: number }>>): Record<string, number> {
  return Object.fromEntries(Object.entries(table).map(([name, { number }]) => [name, number]))
}

test('wire numbers: apis and errors have the numbers they have always had', () => {
  assert.deepEqual(numbersOf(apis), golden.apis)
  assert.deepEqual(numbersOf(errorTable), golden.errors)
})

test('wire numbers: none is used twice, and each finds its name', () => {
  for (const table of [golden.apis, golden.errors])
    assert.equal(new Set(Object.values(table)).size, Object.keys(table).length)
  for (const [name, number] of Object.entries(golden.apis)) assert.equal(apiName(number), name)
  for (const [name, number] of Object.entries(golden.errors)) assert.equal(errorCode(number), name)
  assert.equal(apiName(255), undefined)
})

test('errors: a number of a newer peer reads as internal', () => {
  assert.equal(errorCode(65_535), 'internal')
})

test('errors: retriable and HTTP status come from the row', () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    const error = new PlayheadError(code, 'thing: found X, wanted Y')
    assert.equal(error.retriable, errorTable[code].retriable)
    assert.equal(error.httpStatus, errorTable[code].http)
    assert.ok(isPlayheadError(error) && isPlayheadError(error, code) && !isPlayheadError(new Error(code)))
  }
})
