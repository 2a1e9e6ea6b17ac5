// Owns: the op LockstepVersion, which tells the kernels of one release from those of another: what they are made of decides
// bits. Refuses to know: what the number means; whoever compiles this defines it.
#include "op.h"

namespace lockstep {
namespace {

class Version {
 public:
  explicit Version(Attributes) {}

  void run(Call call) const { *dataOf<int32_t>(call.output<int32_t>(0, {})) = LOCKSTEP_KERNELS_VERSION; }
};

const bool registered = registerSingle<Version>({"LockstepVersion", {}, {}, {"version: int32"}});

}  // namespace
}  // namespace lockstep
