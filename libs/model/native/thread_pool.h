// Owns: sharing the tiles of one pass among as many threads as TensorFlow uses.
// Refuses to know: what a tile is. Which thread takes which tile is left to chance, so no result may depend on it.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lockstep {

/** Runs work(context, 0) … work(context, tasks - 1), in any order and at once; returns when all have ended. */
void runTasks(int64_t tasks, void (*work)(void* context, int64_t task), void* context);

template <typename Work>
void parallel(int64_t tasks, Work&& work) {
  using Plain = std::remove_reference_t<Work>;
  runTasks(
      tasks, [](void* context, int64_t task) { (*static_cast<Plain*>(context))(task); }, &work);
}

}  // namespace lockstep
