// Owns: the building blocks of the job spec's schema: kinds of numbers, choices and the sentence that a wrong value gets.
// Refuses to know: which fields there are.
import { z } from 'zod';

export const described = <Schema extends z.ZodType>(schema: Schema, description: string, fallback?: unknown): Schema =>
  schema.meta(fallback === undefined ? { description } : { description, default: fallback });

export const positive = (): z.ZodNumber =>
  z.number('must be a finite number above 0').gt(0, 'must be a finite number above 0');
export const notNegative = (): z.ZodNumber =>
  z.number('must be a finite number from 0 on').min(0, 'must be a finite number from 0 on');
export const between = (low: number, high: number): z.ZodNumber => {
  const error = `must be a number from ${low} to ${high}`;
  return z.number(error).min(low, error).max(high, error);
};
export const whole = (low: number, high: number): z.ZodInt => {
  const error = `must be a whole number from ${low} to ${high}`;
  return z.int(error).min(low, error).max(high, error);
};
export const oneOf = <const Values extends readonly [string, ...string[]]>(...values: Values) =>
  z.enum(values, `must be ${values.length === 1 ? '' : 'one of '}${values.join(', ')}`);
export const yesOrNo = () => z.boolean('must be true or false');
export const seed = () => whole(0, 4_294_967_295);
