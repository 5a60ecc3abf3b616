#pragma once
// What the driver knows of the target that it is linked with; CMakeLists.txt writes the definitions.

namespace sedum::fuzz::target {

extern const char* const kName;
extern const char* const kSeeds;       // files and folders, separated by colons
extern const char* const kDictionary;  // a file, which may be missing

}  // namespace sedum::fuzz::target
