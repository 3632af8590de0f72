/**
 * Schemas as plain JSON Schema: the builders of typebox that are needed here, with its types and without its some hundred files, which a start would have to
 * read. Checkers are compiled by typebox, which is loaded a moment after the start, or when
 * the first request comes. Called by schemas.ts, Validation, QuickLane.
 */
import assert from 'node:assert/strict'
import type { TSchema, Type as TypeBox } from 'typebox'
import type { Compile } from 'typebox/schema'

type Options = Readonly<Record<string, unknown>>
type Builders = Pick<
  typeof TypeBox,
  | 'Array'
  | 'Boolean'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Record'
  | 'String'
  | 'Union'
  | 'Unknown'
>

export type SchemaChecker<S extends TSchema = TSchema> = ReturnType<typeof Compile<S>>

/** Properties that need not be there. */
const optional = new WeakSet<object>()
const of = (type: string) => (options?: Options) => ({ type, ...options })

const builders = {
  Array: (items: object, options?: Options) => ({ type: 'array', items, ...options }),
  Boolean: of('boolean'),
  Integer: of('integer'),
  Literal: (value: string | number | boolean, options?: Options) => ({ type: typeof value, const: value, ...options }),
  Null: of('null'),
  Number: of('number'),
  Object(properties: Readonly<Record<string, object>>, options?: Options) {
    const required = Object.keys(properties).filter((name) => !optional.has(properties[name]!))
    return { type: 'object', ...(required.length > 0 && { required }), properties, ...options }
  },
  Optional(schema: object) {
    const copy = { ...schema }
    optional.add(copy)
    return copy
  },
  Record: (_name: object, value: object, options?: Options) => ({
    type: 'object',
    patternProperties: { '^.*$': value },
    ...options,
  }),
  String: of('string'),
  Union: (anyOf: readonly object[], options?: Options) => ({ anyOf, ...options }),
  Unknown: (options?: Options) => ({ ...options }),
}

// What they make is what typebox's make, without the marks that only typebox itself looks at.
export const Type = builders as unknown as Builders

let compile: typeof Compile | undefined

export const isCompilerThere = (): boolean => compile !== undefined

/** To be awaited before anything is compiled. */
export async function loadCompiler(): Promise<void> {
  compile ??= (await import('typebox/schema')).Compile
}

export function compileSchema<S extends TSchema>(schema: S): SchemaChecker<S> {
  assert(compile !== undefined, 'the compiler of schemas is loaded')
  return compile(schema)
}
