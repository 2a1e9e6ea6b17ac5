// Owns: TensorFlow's GraphDef, SignatureDef and SavedModel messages, as far as a frozen net needs them (field numbers are those of
// tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto and protobuf/{meta_graph,saved_model}.proto).
// Refuses to know: which nodes a net has.
import { bytesOf } from '../durable-files.js';
import { DTYPE, type DType } from '../tensorflow/addon.js';
import { type Encoded, fields, floatField, mapEntry, nestedField, wholeField } from './protobuf.js';

/** GraphDef version of TensorFlow 2.9; later ones read it, and so does every 2.x. */
const PRODUCER = 1087;
const SCHEMA_VERSION = 1;
/** The tag that servers and loaders ask for. */
export const SERVE_TAG = 'serve';

export type AttributeValue =
  | { readonly type: DType }
  | { readonly int: number }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly ints: readonly number[] }
  | { readonly shape: readonly number[] }
  | { readonly tensor: Float32Array | Int32Array; readonly of: readonly number[] };

/** An input or output of the signature; -1 in the shape stands for any number. */
export interface SignatureTensor {
  /** Of the node whose first output it is. */
  readonly node: string;
  readonly shape: readonly number[];
}

/** Collects nodes; each call returns the new node's name, for others to take as input. */
export class GraphBuilder {
  readonly #nodes: Encoded[] = [];

  node(
    name: string,
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>>,
  ): string {
    const encoded = fields(
      nestedField(1, name),
      nestedField(2, op),
      ...inputs.map((input) => nestedField(3, input)),
      ...Object.entries(attributes).map(([key, value]) => mapEntry(5, key, attributeOf(value))),
    );
    this.#nodes.push(nestedField(1, encoded));
    return name;
  }

  /** The numbers are not copied: they must not change before the graph is written. */
  constant(name: string, values: Float32Array | Int32Array, shape: readonly number[]): string {
    const dtype = { type: dtypeOf(values) };
    return this.node(name, 'Const', [], { dtype, value: { tensor: values, of: shape } });
  }

  /** saved_model.pb: the graph under the tag 'serve', with one signature, 'serving_default'. */
  savedModel(
    inputs: Readonly<Record<string, SignatureTensor>>,
    outputs: Readonly<Record<string, SignatureTensor>>,
  ): Encoded {
    const graph = fields(...this.#nodes, nestedField(4, wholeField(1, PRODUCER)));
    const named = (field: number, tensors: Readonly<Record<string, SignatureTensor>>): Encoded[] =>
      Object.entries(tensors).map(([name, tensor]) => mapEntry(field, name, tensorInfo(tensor)));
    const signature = fields(...named(1, inputs), ...named(2, outputs), nestedField(3, 'tensorflow/serving/predict'));
    const about = fields(nestedField(4, SERVE_TAG), wholeField(7, true));
    const metaGraph = fields(nestedField(1, about), nestedField(2, graph), mapEntry(5, 'serving_default', signature));
    return fields(wholeField(1, SCHEMA_VERSION), nestedField(2, metaGraph));
  }
}

function tensorInfo({ node, shape }: SignatureTensor): Encoded {
  return fields(nestedField(1, `${node}:0`), wholeField(2, DTYPE.float32), nestedField(3, shapeOf(shape)));
}

function attributeOf(value: AttributeValue): Encoded {
  if ('type' in value) return wholeField(6, DTYPE[value.type]);
  if ('int' in value) return wholeField(3, value.int);
  if ('float' in value) return floatField(4, value.float);
  if ('bool' in value) return wholeField(5, value.bool);
  if ('text' in value) return nestedField(2, value.text);
  if ('shape' in value) return nestedField(7, shapeOf(value.shape));
  if ('ints' in value) return nestedField(1, fields(...value.ints.map((each) => wholeField(3, each))));
  const tensor = fields(
    wholeField(1, DTYPE[dtypeOf(value.tensor)]),
    nestedField(2, shapeOf(value.of)),
    nestedField(4, bytesOf(value.tensor)),
  );
  return nestedField(8, tensor);
}

function shapeOf(shape: readonly number[]): Encoded {
  return fields(...shape.map((side) => nestedField(2, wholeField(1, side))));
}

function dtypeOf(values: Float32Array | Int32Array): 'float32' | 'int32' {
  return values instanceof Float32Array ? 'float32' : 'int32';
}
