# Data sets: the generated demo, unpacked archives, and the manifest of every split.
DRAWN, UNPACKED = plan.made()


rule shapes:
    """The generated data set of the demo"""
    output:
        directory("<results>/data/{dataset}/images"),
    log:
        "<logs>/shapes/{dataset}.log",
    benchmark:
        "<benchmarks>/shapes/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(DRAWN),
    conda:
        "../envs/classlens.yaml"
    threads: 4
    resources:
        mem_mb=memory(1),
        runtime=30,
    params:
        settings=lambda wildcards: of_dataset(wildcards).shapes_settings(),
        code=code("shapes.py"),
    message:
        "Drawing the data set {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/shapes.py --log {log:q} --threads {threads}'
        " --num-classes {params.settings[num_classes]:q} --splits {params.settings[splits]:q} --seed {params.settings[seed]:q}"
        " --root {output:q}"


rule cifar:
    """Images of CIFAR, unpacked from the official archive"""
    output:
        directory("<results>/data/{dataset}/images/{split}"),
    log:
        "<logs>/cifar/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/cifar/{dataset}/{split}.tsv"
    wildcard_constraints:
        dataset=one_of(UNPACKED),
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=60,
        archive=lambda wildcards: settings["datasets"][wildcards.dataset]["root"],
        download=lambda wildcards: str(settings["datasets"][wildcards.dataset]["download"]).lower(),
    params:
        settings=lambda wildcards: of_dataset(wildcards).archive_settings(wildcards.split),
        code=code("cifar.py"),
    message:
        "Unpacking the images of {wildcards.dataset}, {wildcards.split}"
    shell:
        'python "$SCRIPTS"/cifar.py --log {log:q} --threads {threads} --kind {params.settings[kind]:q}'
        " --archive {resources.archive:q} --download {resources.download:q} --split {wildcards.split:q}"
        " --images-per-class {params.settings[images_per_class]:q} --folder {output:q}"


rule manifest:
    """The table of a split's images, each of which is decoded once"""
    input:
        made_images,
    output:
        "<results>/data/{dataset}/{split}/manifest.parquet",
    log:
        "<logs>/manifest/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/manifest/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 4
    resources:
        mem_mb=memory(2),
        runtime=120,
        root=root,
        masks=lambda wildcards: str(of_dataset(wildcards).config["masks"]),
        classes=lambda wildcards: str(of_dataset(wildcards).config["classes"]),
    params:
        settings=lambda wildcards: of_dataset(wildcards).manifest_settings(wildcards.split),
        code=code("manifest.py"),
    message:
        "Checking the images of {wildcards.dataset}, {wildcards.split}"
    shell:
        'python "$SCRIPTS"/manifest.py --log {log:q} --threads {threads} --root {resources.root:q}'
        " --kind {params.settings[kind]:q} --subset {params.settings[subset]:q} --classes {resources.classes:q}"
        " --class-order {params.settings[class_order]:q} --class-splits {params.settings[class_splits]:q}"
        " --split {params.settings[split]:q} --images-per-class {params.settings[images_per_class]:q}"
        " --masks {resources.masks:q} --on-bad-image {params.settings[on_bad_image]:q}"
        " --shard-size {params.settings[shard_size]:q} --protocol {params.settings[protocol]:q} --manifest {output:q}"


rule classes:
    """The classes of a data set, for models whose weights come from a file"""
    input:
        made_images,
    output:
        "<results>/data/{dataset}/{split}/classes.parquet",
    log:
        "<logs>/classes/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/classes/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=10,
        root=root,
        classes=lambda wildcards: str(of_dataset(wildcards).config["classes"]),
    params:
        settings=lambda wildcards: of_dataset(wildcards).class_settings(),
        code=code("classes.py"),
    message:
        "Listing the classes of {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/classes.py --log {log:q} --threads {threads} --root {resources.root:q} --kind {params.settings[kind]:q}'
        " --subset {params.settings[subset]:q} --classes {resources.classes:q} --split {wildcards.split:q}"
        " --class-order {params.settings[class_order]:q} --class-splits {params.settings[class_splits]:q}"
        " --protocol {params.settings[protocol]:q} --class-list {output:q}"
