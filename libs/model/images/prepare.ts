// Owns: that a recipe with views makes views of an image, and any other one image.
// Refuses to know: how either is made, and on which thread.
import { type ImageRecipe, prepareImage } from './prepare-image.js';
import { writeTestViews } from './test-views.js';

/**
 * @param out gets [imageSize, imageSize, 3] numbers, or with `views` those of `viewGroupsOf`
 * @throws ImageError
 */
export async function prepare(bytes: Uint8Array, recipe: ImageRecipe, out: Float32Array): Promise<void> {
  const { views } = recipe;
  if (views === undefined) await prepareImage(bytes, recipe, out);
  else await writeTestViews(bytes, views, recipe, out);
}
