import assert from 'node:assert/strict'
import { test } from 'node:test'
import { functionsOf, importsOf } from './source-scan.ts'

test('source scan: imports of every form are found', () => {
  const text = [
    "import { a } from './a.ts'",
    "import type { B } from './b.ts'",
    "import './c.ts'",
    "export * from './d.ts'",
    "import {\n  e,\n  f,\n} from './e.ts'",
    "const g = await import('./g.ts')",
  ].join('\n')
  assert.deepEqual(importsOf(text).toSorted(), ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './g.ts'])
})

test('source scan: functions, methods, getters, arrows and callbacks are measured, other braces are not', () => {
  const body = '\n    // {{{\n    const text = "}"\n'
  const text = [
    `export async function first(a: number): Promise<void> {${body}}`,
    `class Second {\n  field = { a: 1 }\n  method(\n    a: string,\n  ): void {${body}  }\n  get size(): number {${body}  }\n  async #hidden<T>(a: T): Promise<T> {${body}  }\n}`,
    `const third = (a: number) => {${body}}`,
    `if (a) {${body}}`,
    `test('fourth', async () => {${body}})`,
  ].join('\n')
  assert.deepEqual(
    functionsOf(text).map(({ name, lines }) => `${name} ${lines}`),
    ['first 4', 'method 6', 'size 4', '#hidden 4', 'third 4', '(arrow) 4'],
  )
})

test('source scan: a function of 71 lines counts 71', () => {
  const lines = Array.from({ length: 69 }, (_, index) => `  call(${index})`).join('\n')
  assert.deepEqual(functionsOf(`function long() {\n${lines}\n}\n`), [{ name: 'long', line: 1, lines: 71 }])
})
