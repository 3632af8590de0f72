/**
 * Header schemas: what the msgpack header of a frame may hold, checked on the way in. A header is one array, one element per field
 * in the order of the declaration; fields are only ever added at the end and a missing or null one reads as its default,
 * so that old and new peers understand each other. Built into the api table by api.ts, coded by header-codec.ts.
 */
import { PlayheadError } from './errors.ts'

export interface Field<T> {
  /** For docs/protocol.md, e.g. `text ≤ 249 bytes`. */
  readonly doc: string
  /** Of a list or an optional field: what it holds. Of a struct: its fields. Read by the documentation's generator. */
  readonly element?: Field<unknown>
  readonly shape?: Shape
  readonly plain?: PlainCodec<T>
  /** Added to a struct that peers already know: left out where it is the last and has no value. */
  readonly isLater?: true
  pack(value: T): unknown
  /** Throws malformedHeader naming `path`, what was found and what was wanted. */
  unpack(value: unknown, path: string): T
}

/** Goes straight from a value to its bytes and back, where there are very many of them. Undefined: not here; the schema tells. */
export interface PlainCodec<T> {
  encode(value: T): Buffer | undefined
  decode(header: Buffer): T | undefined
}

export type ValueOf<F> = F extends Field<infer T> ? T : never
export type Shape = Readonly<Record<string, Field<unknown>>>
export type ValuesOf<S extends Shape> = { -readonly [K in keyof S]: ValueOf<S[K]> }

function malformed(path: string, value: unknown, wanted: string): PlayheadError {
  const found = value === null || value === undefined ? 'nothing' : Array.isArray(value) ? 'an array' : typeof value
  return new PlayheadError('malformedHeader', `header field ${path}: found ${found}, wanted ${wanted}`)
}

const same = (value: unknown): unknown => value

/** An integer from `min` to `max`, both inclusive and safe. */
export function int(min = 0, max = Number.MAX_SAFE_INTEGER): Field<number> {
  const doc = min === 0 && max === Number.MAX_SAFE_INTEGER ? 'integer ≥ 0' : `integer ${min} … ${max}`
  return {
    doc,
    pack: same,
    unpack(value, path) {
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
        throw malformed(path, value, typeof value === 'number' ? `${doc}, not ${value}` : doc)
      }
      return value
    },
  }
}

export const bool: Field<boolean> = {
  doc: 'boolean',
  pack: same,
  unpack(value, path) {
    if (typeof value !== 'boolean') throw malformed(path, value, 'a boolean')
    return value
  },
}

/** UTF-8 text of at most `bytesMax` bytes. */
export function text(bytesMax: number): Field<string> {
  const doc = `text ≤ ${bytesMax} bytes`
  return {
    doc,
    pack: same,
    unpack(value, path) {
      if (typeof value !== 'string' || value.length > bytesMax || Buffer.byteLength(value) > bytesMax) {
        throw malformed(path, value, doc)
      }
      return value
    },
  }
}

export function oneOf<const T extends string>(...values: readonly T[]): Field<T> {
  const doc = values.map((value) => `"${value}"`).join(' | ')
  return {
    doc,
    pack: same,
    unpack(value, path) {
      if (!values.includes(value as T)) throw malformed(path, value, doc)
      return value as T
    },
  }
}

/** Absent or null reads as undefined. */
export function optional<T>(field: Field<T>): Field<T | undefined> {
  return {
    doc: `${field.doc}, or null`,
    element: field,
    pack: (value) => (value === undefined ? null : field.pack(value)),
    unpack: (value, path) => (value === null || value === undefined ? undefined : field.unpack(value, path)),
  }
}

/** An optional field that came to a struct later: while nobody uses it the bytes are those of before. */
export function later<T>(field: Field<T>): Field<T | undefined> {
  return { ...optional(field), isLater: true }
}

export function list<T>(field: Field<T>, countMax: number): Field<T[]> {
  const doc = `list ≤ ${countMax} of (${field.doc})`
  return {
    doc,
    element: field,
    pack: (values) => values.map((value) => field.pack(value)),
    unpack(value, path) {
      if (!Array.isArray(value) || value.length > countMax) throw malformed(path, value, doc)
      const items = value as unknown[]
      try {
        return items.map((item) => field.unpack(item, path))
      } catch {
        // Once more, to name the one that is wrong: making a name for each that is right would cost as much as reading it.
        return items.map((item, index) => field.unpack(item, `${path}[${index}]`))
      }
    },
  }
}

/** Named fields as an array in the order of the declaration. A header itself is one of these. */
export function struct<S extends Shape>(shape: S): Field<ValuesOf<S>> & { readonly shape: S } {
  const entries = Object.entries(shape)
  const doc = `[${entries.map(([name, field]) => `${name}: ${field.doc}`).join(', ')}]`
  const unpackStruct = (value: unknown[], pathOf: (name: string) => string): ValuesOf<S> => {
    const out: Record<string, unknown> = {}
    for (let index = 0; index < entries.length; index++) {
      const [name, field] = entries[index]!
      out[name] = field.unpack(value[index], pathOf(name))
    }
    return out as ValuesOf<S>
  }
  return {
    shape,
    doc,
    pack(values) {
      const packed: unknown[] = []
      for (const [name, field] of entries) packed.push(field.pack(values[name as keyof S]))
      while (entries[packed.length - 1]?.[1].isLater === true && packed.at(-1) === null) packed.pop()
      return packed
    },
    unpack(value, path) {
      if (!Array.isArray(value)) throw malformed(path, value, 'an array')
      try {
        return unpackStruct(value, () => path)
      } catch {
        return unpackStruct(value, (name) => (path === '' ? name : `${path}.${name}`)) // as in a list
      }
    },
  }
}
