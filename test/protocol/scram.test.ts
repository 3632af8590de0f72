/** SCRAM-SHA-256 against the example of RFC 7677, and what is malformed. */
import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import {
  authMessage,
  clientFinal,
  clientFinalWithoutProof,
  clientFirst,
  clientKeyOf,
  clientKeyOfProof,
  parseClientFinal,
  parseClientFirst,
  parseServerFinal,
  parseServerFirst,
  proofOf,
  serverFinal,
  serverFirst,
  serverKeyOf,
  signatureOf,
  storedKeyOf,
} from '../../protocol/scram.ts'

const nonce = 'rOprNGfwEbeRWgbNEkqO'
const first = `n,,n=user,r=${nonce}`
const answer = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
const last =
  'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
const signature = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='

test('scram: the example of RFC 7677, from both sides', () => {
  assert.equal(clientFirst('user', nonce), first)
  const { bare, user } = parseClientFirst(first)
  assert.equal(user, 'user')
  const facts = parseServerFirst(answer, nonce)
  assert.equal(serverFirst(facts), answer)
  const salted = pbkdf2Sync('pencil', facts.salt, facts.iterations, 32, 'sha256')
  const signed = authMessage(bare, answer, clientFinalWithoutProof(facts.nonce))
  const proof = proofOf(clientKeyOf(salted), signed)
  assert.equal(clientFinal(facts.nonce, proof), last)

  const shown = parseClientFinal(last)
  const storedKey = storedKeyOf(clientKeyOf(salted))
  assert.deepEqual(storedKeyOf(clientKeyOfProof(storedKey, signed, shown.proof)), storedKey)
  assert.equal(serverFinal(signatureOf(serverKeyOf(salted), signed)), signature)
  assert.deepEqual(parseServerFinal(signature), signatureOf(serverKeyOf(salted), signed))
})

test('scram: messages of another form are refused as unauthenticated', () => {
  const refused = { code: 'unauthenticated' }
  for (const message of [
    '',
    'n,,n=,r=aaaaaaaaaaaaaaaa',
    'y,,n=user,r=aaaaaaaaaaaaaaaa',
    'n,,n=user,r=short',
    `${first},m=x`,
  ])
    assert.throws(() => parseClientFirst(message), refused, message)
  for (const message of ['', 'c=biws,r=x,p=AAAA', 'c=eSws,r=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='])
    assert.throws(() => parseClientFinal(message), refused, message)
  for (const message of [
    '',
    answer.replace('i=4096', 'i=1'), // a cheap verifier would give the password away
    answer.replace('i=4096', 'i=999999999'), // a broker must not keep its clients busy
    answer.replace('rOpr', 'xOpr'), // another client's nonce
    `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`, // nothing of the broker's own
  ])
    assert.throws(() => parseServerFirst(message, nonce), refused, message)
})
