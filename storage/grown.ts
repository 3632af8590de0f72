/** grown: a typed array of twice the length with the same beginning. Called by all that collect numbers side by side: indexes, tables of postings. */
type Numbers = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer>

export function grown<A extends Numbers>(numbers: A): A {
  const larger = new (numbers.constructor as new (length: number) => A)(numbers.length * 2)
  larger.set(numbers)
  return larger
}
